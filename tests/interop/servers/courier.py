"""Courier: Maildirs, UTF8 (RFC 6856), and a PIPELINING that loses what follows PASS."""

from itertools import count
from typing import Final

from tests.interop.chroot import Chroot
from tests.interop.layers import Layers
from tests.interop.server import HOST, free_ports, wait_for_greeting

_MAIL: Final = 8
"""The number of Debian's user and group ``mail``, to whom all maildrops belong."""
_FIRST_NAME: Final = 1_700_000_000
"""Courier numbers messages in the order of the names of their files: ours count upwards from here."""


class Courier:
    """Courier's POP3 server, and its authentication daemon with a table of users.

    As Debian ships it, it offers no SASL mechanism: who logs in does so by PASS.
    """

    def __init__(self, layers: Layers) -> None:
        self.chroot: Chroot = layers.chroot("courier-pop", "courier-authlib-userdb")
        self._users: dict[str, str] = {}
        self._names = count(_FIRST_NAME)
        self.port = 0

    def start(self) -> None:
        self.chroot.start()
        try:
            (self.port,) = free_ports(1)
            settings = self.chroot.root / "etc" / "courier"
            # Shell fragments: a later assignment wins.
            with (settings / "pop3d").open("a") as file:
                file.write(f"PORT={self.port}\nADDRESS={HOST}\nMAXPERIP=40\n")
            with (settings / "authdaemonrc").open("a") as file:
                file.write('authmodulelist="authuserdb"\n')
            self.chroot.run("mkdir", "-p", "/run/courier/authdaemon")
            self.chroot.spawn("authdaemond", "start")
            self.chroot.wait_for("/run/courier/authdaemon/socket")
            self.chroot.spawn("pop3d", "start")
            wait_for_greeting(self.port, b"+OK", chroot=self.chroot)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.chroot.stop()

    def add_user(self, user: str, password: str) -> None:
        for folder in ("cur", "new", "tmp"):
            self.chroot.run("mkdir", "-p", f"/srv/{user}/Maildir/{folder}")
        self.chroot.run("chown", "-R", "mail:mail", f"/srv/{user}")
        hashed = self.chroot.run("userdbpw", "-md5", stdin=f"{password}\n".encode()).strip()
        entry = f"uid={_MAIL}|gid={_MAIL}|home=/srv/{user}|mail=/srv/{user}/Maildir"
        self._users[user] = f"{user}\t{entry}|systempw={hashed}\n"
        self.chroot.write("/etc/courier/userdb", "".join(self._users.values()), mode=0o600)
        self.chroot.run("makeuserdb")

    def put(self, user: str, *messages: bytes) -> None:
        for message in messages:
            name = f"{next(self._names)}.M0P1.mail"
            self.chroot.write(f"/srv/{user}/Maildir/tmp/{name}", message)
            self.chroot.run("mv", f"/srv/{user}/Maildir/tmp/{name}", f"/srv/{user}/Maildir/new/{name}")

    def messages(self, user: str) -> list[bytes]:
        maildir = self.chroot.root / "srv" / user / "Maildir"
        return [file.read_bytes() for box in ("new", "cur") for file in sorted((maildir / box).iterdir())]
