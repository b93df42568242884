"""What the documentation says is true: its commands are run, its configurations read, its links followed.

``pages.py`` takes the pages apart, ``decisions.py`` is the one table of blocks that are not simply run,
``sandbox.py`` is where they are run: a home of its own, and a real Dovecot behind every name that a page uses.
"""
