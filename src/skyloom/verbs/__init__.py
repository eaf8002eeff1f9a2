"""One module a verb: it reads files, calls pure functions, writes files.

Each has `arguments(parser)` and `run(args)`. Rule, verb and module share their name.
"""
