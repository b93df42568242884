"""Servers that inetd starts for every connection, whose users are the system's and whose maildrops are mboxes."""

import mailbox
import re
from typing import Final

from tests.interop.chroot import Chroot
from tests.interop.layers import Layers
from tests.interop.server import HOST, free_ports, wait_for_greeting

_FROM: Final = re.compile(rb"^(>*From )", re.MULTILINE)


class Inetd:
    """A program of a Debian package that speaks POP3 on its standard input.

    Args:
        package: the package that brings it.
        argv: the program's path, and its arguments.
    """

    def __init__(self, layers: Layers, package: str, *argv: str) -> None:
        self.chroot: Chroot = layers.chroot(package, "openbsd-inetd")
        self._argv = argv
        self.port = 0

    def start(self) -> None:
        self.chroot.start()
        try:
            (self.port,) = free_ports(1)
            program, *arguments = self._argv
            command = " ".join((program, program.rpartition("/")[2], *arguments))
            self.chroot.write("/etc/inetd.conf", f"{HOST}:{self.port} stream tcp nowait root {command}\n")
            self.chroot.spawn("inetd", "-i")
            wait_for_greeting(self.port, b"+OK", chroot=self.chroot)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.chroot.stop()

    def add_user(self, user: str, password: str) -> None:
        self.chroot.run("useradd", "--create-home", user)
        self.chroot.run("chpasswd", stdin=f"{user}:{password}\n".encode())
        self.chroot.write(f"/var/mail/{user}", b"", mode=0o660)
        self.chroot.run("chown", f"{user}:mail", f"/var/mail/{user}")

    def put(self, user: str, *messages: bytes) -> None:
        with (self.chroot.root / "var" / "mail" / user).open("ab") as file:
            for message in messages:
                end = b"\n" if message.endswith(b"\n") else b"\n\n"
                file.write(b"From bob@example.net Tue Nov 24 06:00:00 2026\n")
                file.write(_FROM.sub(rb">\1", message) + end)

    def messages(self, user: str) -> list[bytes]:
        box = mailbox.mbox(self.chroot.root / "var" / "mail" / user, create=False)
        try:
            return [box.get_bytes(key) for key in box.iterkeys()]
        finally:
            box.close()


class Popa3d(Inetd):
    """popa3d knows nothing but RFC 1939: no CAPA; its greeting is ``+OK``, and its refusals are ``-ERR``."""

    def __init__(self, layers: Layers) -> None:
        super().__init__(layers, "popa3d", "/usr/sbin/popa3d")


class Mailutils(Inetd):
    """GNU mailutils writes header fields of its own into the mbox, so that sizes change from session to session.

    Its CAPA has a line ``EXPIRENEVER``.
    """

    def __init__(self, layers: Layers) -> None:
        super().__init__(layers, "mailutils-pop3d", "/usr/sbin/pop3d", "-i")
