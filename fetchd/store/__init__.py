"""What fetchd remembers, in one SQLite file: see ``docs/architecture.md`` and DESIGN §4."""
