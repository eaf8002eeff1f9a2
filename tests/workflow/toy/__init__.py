"""A package of somebody else: an imaging survey, a spectroscopic survey, a model family and an export format, a file each.

`tests/workflow/test_plugins.py` installs it beside skyloom and runs it; docs/plugins.md shows it.
"""
