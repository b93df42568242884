"""A machine for the parsers: joe is a user of it, and runs this."""

from fetchd.migration.accounts import Here

HERE = Here("joe", is_root=False, home={"joe": "/home/joe", "ann": "/home/ann"}.get)
ROOT = Here("root", is_root=True, home={"root": "/root", "joe": "/home/joe"}.get)
