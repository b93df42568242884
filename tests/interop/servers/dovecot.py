"""Dovecot 2.4, of a later Debian than the others: the SCRAM mechanisms with -PLUS, which Dovecot 2.3 does not have."""

import base64
from itertools import count
from typing import Final

from tests.interop.chroot import Chroot
from tests.interop.layers import Layers
from tests.interop.server import HOST, free_ports, wait_for_greeting
from tests.servers.pki import TestAuthority

DEBIAN: Final = "trixie"
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS")
_FIRST_NAME: Final = 1_700_000_000
"""Dovecot numbers messages in the order of the names of their files: ours count upwards from here."""

_SETTINGS: Final = """\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
protocols = pop3
listen = {host}
ssl = yes
ssl_server_cert_file = /etc/dovecot/cert.pem
ssl_server_key_file = /etc/dovecot/key.pem
auth_mechanisms = {mechanisms}
auth_allow_cleartext = yes
auth_failure_delay = 0 secs
mail_max_userip_connections = 1000
first_valid_uid = 1
mail_driver = maildir
mail_path = /srv/%{{user}}/Maildir
passdb passwd-file {{
  passwd_file_path = /etc/dovecot/users/%{{user}}
}}
userdb static {{
  fields {{
    uid = mail
    gid = mail
    home = /srv/%{{user}}
  }}
}}
service anvil {{
  # Else the second wrong password from an address costs a delay, the third a longer one.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = {tls_port}
    ssl = yes
  }}
}}
"""


class Dovecot24:
    """Dovecot 2.4, with STLS on ``port`` and POP3S on ``tls_port``; its certificate names ``127.0.0.1``."""

    def __init__(self, layers: Layers, authority: TestAuthority) -> None:
        self.chroot: Chroot = layers.chroot("dovecot-pop3d")
        self._certificate = authority.issue(HOST)
        self._names = count(_FIRST_NAME)
        self.port = 0
        self.tls_port = 0

    def start(self) -> None:
        self.chroot.start()
        try:
            self.port, self.tls_port = free_ports(2)
            settings = _SETTINGS.format(
                host=HOST, port=self.port, tls_port=self.tls_port, mechanisms=" ".join(MECHANISMS).lower()
            )
            self.chroot.write("/etc/dovecot/dovecot.conf", settings)
            self.chroot.write("/etc/dovecot/cert.pem", self._certificate.cert_file.read_bytes())
            self.chroot.write("/etc/dovecot/key.pem", self._certificate.key_file.read_bytes(), mode=0o600)
            self.chroot.spawn("dovecot", "-F")
            wait_for_greeting(self.port, b"+OK", chroot=self.chroot)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.chroot.stop()

    @property
    def version(self) -> str:
        return self.chroot.run("dovecot", "--version").strip()

    def add_user(self, user: str, password: str) -> None:
        for folder in ("cur", "new", "tmp"):
            self.chroot.run("mkdir", "-p", f"/srv/{user}/Maildir/{folder}")
        self.chroot.run("chown", "-R", "mail:mail", f"/srv/{user}")
        # A file for each user: Dovecot looks at most once a second whether a file that it has read has changed.
        coded = base64.b64encode(password.encode()).decode()
        self.chroot.write(f"/etc/dovecot/users/{user}", f"{user}:{{PLAIN.b64}}{coded}::::::\n")

    def put(self, user: str, *messages: bytes) -> None:
        for message in messages:
            name = f"{next(self._names)}.M0P1.mail"
            self.chroot.write(f"/srv/{user}/Maildir/tmp/{name}", message)
            self.chroot.run("mv", f"/srv/{user}/Maildir/tmp/{name}", f"/srv/{user}/Maildir/new/{name}")

    def messages(self, user: str) -> list[bytes]:
        maildir = self.chroot.root / "srv" / user / "Maildir"
        return [file.read_bytes() for box in ("new", "cur") for file in sorted((maildir / box).iterdir())]
