"""The embedded sky: a pure function of (seed, position), drawn behind the archives' own protocols.

Tables and figures made on it show the software at work, not a survey's performance.
"""
