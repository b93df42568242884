"""Cyrus: a mail store of its own, fed by LMTP, many SASL mechanisms, and a LOGIN-DELAY that it means."""

import re
import smtplib
from typing import Final

from tests.interop.chroot import Chroot
from tests.interop.layers import Layers
from tests.interop.server import HOST, free_ports, wait_for_greeting
from tests.servers.pki import TestAuthority

_SETTINGS: Final = """\
configdirectory: /var/lib/cyrus
proc_path: /run/cyrus/proc
mboxname_lockpath: /run/cyrus/lock
defaultpartition: default
partition-default: /var/spool/cyrus/mail
servername: mail.example.org
allowplaintext: yes
autocreate_quota: 0
autocreate_post: yes
expunge_mode: immediate
delete_mode: immediate
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_mech_list: PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256
tls_server_cert: /etc/cyrus-cert.pem
tls_server_key: /etc/cyrus-key.pem
failedloginpause: 0
popminpoll: {minutes}
"""

_SERVICES: Final = """\
START {{
  recover cmd="/usr/sbin/cyrus ctl_cyrusdb -r"
}}
SERVICES {{
  pop3 cmd="pop3d" listen="{host}:{port}" prefork=0
  pop3s cmd="pop3d -s" listen="{host}:{tls_port}" prefork=0
  delayed cmd="pop3d -C /etc/delayed.conf" listen="{host}:{delayed_port}" prefork=0
  lmtp cmd="lmtpd -a" listen="{host}:{lmtp_port}" prefork=0
}}
EVENTS {{
}}
"""


class Cyrus:
    """Cyrus IMAP's POP3 server, twice: on ``delayed_port`` it lets nobody log in twice within a minute.

    It has STLS, and POP3S on ``tls_port``; its certificate names ``127.0.0.1``.
    """

    def __init__(self, layers: Layers, authority: TestAuthority) -> None:
        self.chroot: Chroot = layers.chroot("cyrus-pop3d", "sasl2-bin", "libsasl2-modules")
        self._certificate = authority.issue(HOST)
        self.port = 0
        self.tls_port = 0
        self.delayed_port = 0
        self._lmtp_port = 0

    def start(self) -> None:
        self.chroot.start()
        try:
            self.port, self.tls_port, self.delayed_port, self._lmtp_port = free_ports(4)
            services = _SERVICES.format(
                host=HOST,
                port=self.port,
                tls_port=self.tls_port,
                delayed_port=self.delayed_port,
                lmtp_port=self._lmtp_port,
            )
            self.chroot.write("/etc/cyrus.conf", services)
            self.chroot.write("/etc/imapd.conf", _SETTINGS.format(minutes=0))
            self.chroot.write("/etc/delayed.conf", _SETTINGS.format(minutes=1))
            self.chroot.write("/etc/cyrus-cert.pem", self._certificate.cert_file.read_bytes())
            self.chroot.write("/etc/cyrus-key.pem", self._certificate.key_file.read_bytes(), mode=0o600)
            self.chroot.run("chown", "cyrus", "/etc/cyrus-key.pem")
            self.chroot.run("install", "-d", "-o", "cyrus", *(f"/run/cyrus/{name}" for name in ("proc", "lock")))
            self.chroot.spawn("cyrmaster")
            for port, greeting in ((self.port, b"+OK"), (self.delayed_port, b"+OK"), (self._lmtp_port, b"220")):
                wait_for_greeting(port, greeting, chroot=self.chroot)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.chroot.stop()

    def add_user(self, user: str, password: str) -> None:
        self.chroot.run("saslpasswd2", "-p", "-c", "-u", "mail.example.org", user, stdin=f"{password}\n".encode())
        self.chroot.run("chown", "cyrus", "/etc/sasldb2")

    def put(self, user: str, *messages: bytes) -> None:
        with smtplib.LMTP(HOST, self._lmtp_port) as lmtp:
            for message in messages:
                lmtp.sendmail("bob@example.net", [user], message)

    def messages(self, user: str) -> list[bytes]:
        # The index knows: what is expunged from it may keep its file until somebody opens the mailbox again.
        told = self.chroot.run("runuser", "-u", "cyrus", "--", "/usr/lib/cyrus/bin/mbexamine", f"user/{user}")
        path = re.search(r"Path to mailbox: /(\S+)", told)
        assert path is not None, told
        spool = self.chroot.root / path[1]
        return [(spool / f"{int(uid)}.").read_bytes() for uid in re.findall(r"(?m)^\d+> UID:(\d+) ", told)]
