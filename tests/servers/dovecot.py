"""A real Dovecot on loopback, out of a temporary directory: what a real server does, no test has to imagine.

It runs as one user without privileges: the one who runs the tests, or ``nobody`` where that is root. Dovecot 2.3
(Debian 12) and 2.4 (Debian 13) spell their configuration differently; both are written here.
"""

import base64
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.servers.pki import TestAuthority

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 10.0
_TRIES: Final = 5
_PATIENCE: Final = 0.02
_USER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
_SEARCH: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/usr/local/sbin"))
_FIRST_NAME: Final = 1_700_000_000
"""Dovecot gives out unique-ids by the number that a Maildir file name starts with: ours count upwards from here."""


class DovecotMissingError(Exception):
    """This machine has no Dovecot with POP3; the message says what to install."""


class DovecotError(Exception):
    """Dovecot did not start, or did not stop; the message holds its log."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One user of a running :class:`Dovecot`."""

    server: "Dovecot"
    user: str
    password: str

    def put(self, *messages: bytes) -> None:
        """Drops messages into the maildrop; UIDL lists them in this order."""
        for message in messages:
            self.server.put(self.user, message)

    def messages(self) -> list[bytes]:
        """Returns what is still in the maildrop, oldest first."""
        return self.server.messages(self.user)


class Dovecot:
    """A server of plain POP3 with STLS on ``port`` and of POP3S on ``tls_port``; its certificate names localhost.

    It offers every SASL mechanism for passwords that it has, and APOP; on a plain line too, for it runs on this host.

    Args:
        authority: issues the certificate for ``localhost``, ``127.0.0.1``.
        settings: more lines of the main configuration, for example ``{"pop3_lock_session": "yes"}``; they win.
        introspection: the URL that says of an OAuth 2 token whose it is (RFC 7662, in ``sub``): with it the server
            offers XOAUTH2 and OAUTHBEARER.
        client_certificates: offer EXTERNAL; the user is the common name in the client's certificate by ``authority``.
        names: more host names for its certificate.

    Raises:
        DovecotMissingError: it is not installed.
    """

    host: Final = "127.0.0.1"

    def __init__(
        self,
        authority: TestAuthority,
        *,
        settings: Mapping[str, str] | None = None,
        introspection: str = "",
        client_certificates: bool = False,
        names: Sequence[str] = (),
    ) -> None:
        self._program = _find("dovecot")
        self.version = _version(self._program)
        self._identity = _Identity.choose()
        self._certificate = authority.issue("localhost", self.host, *names)
        self._ca_file = authority.ca_file
        self._settings = dict(settings or {})
        self._introspection = introspection
        self._client_certificates = client_certificates
        self._names = count(_FIRST_NAME)
        self._process: subprocess.Popen[bytes] | None = None
        self.directory = Path()
        self.port = 0
        self.tls_port = 0

    # ── its life ─────────────────────────────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns once the server greets.

        Raises:
            DovecotError: it does not within ``START_SECONDS``.
        """
        self._lay_out()
        try:
            self._start_on_free_ports()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends every process that the server started, and removes its directory; may be called twice.

        Raises:
            DovecotError: a process outlived SIGKILL.
        """
        try:
            self._kill()
        finally:
            if self.directory.is_absolute() and self.directory.exists():
                shutil.rmtree(self.directory)

    @property
    def pid(self) -> int:
        """The master process, which leads the process group of all that the server starts."""
        if self._process is None:
            raise DovecotError("Dovecot is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        path = self.directory / "dovecot.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # ── its users and their mail ─────────────────────────────────────────────────────────────────────────────────

    def add_user(self, name: str, password: str) -> Mailbox:
        """Gives ``name`` a password and an empty maildrop; works while the server runs."""
        if not _USER.fullmatch(name):
            raise ValueError(f"not a user name for this server: {name!r}")
        # A file for each user: Dovecot looks at most once a second whether a file that it has read has changed.
        entry = self.directory / "users" / name
        if entry.exists():
            raise ValueError(f"the user exists already: {name}")
        for folder in ("cur", "new", "tmp"):
            self._identity.make_directory(self.directory / "mail" / name / folder)
        coded = base64.b64encode(password.encode()).decode()
        entry.write_text(f"{name}:{{PLAIN.b64}}{coded}::::::\n")
        self._identity.own(entry)
        return Mailbox(self, name, password)

    def put(self, user: str, message: bytes) -> None:
        """Delivers ``message`` as it is; its unique-id comes after those of all earlier ones."""
        maildir = self.directory / "mail" / user
        name = f"{next(self._names)}.P{os.getpid()}.localhost"
        staged = maildir / "tmp" / name
        staged.write_bytes(message)
        staged.chmod(0o644)
        staged.rename(maildir / "new" / name)

    def messages(self, user: str) -> list[bytes]:
        """Returns the messages that are still there, as they were put, oldest first."""
        maildir = self.directory / "mail" / user
        files = [path for folder in ("cur", "new") for path in (maildir / folder).iterdir()]
        return [path.read_bytes() for path in sorted(files, key=lambda path: path.name)]

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _lay_out(self) -> None:
        # The path must be short: Dovecot's sockets live under it, and a socket's path has at most 107 octets.
        self.directory = Path(tempfile.mkdtemp(prefix="dovecot-", dir="/tmp"))
        self._identity.own(self.directory)
        for name in ("run", "state", "mail", "users", "etc"):
            self._identity.make_directory(self.directory / name)
        sources = (*self._certificate, self._ca_file)
        for source, name in zip(sources, ("cert.pem", "key.pem", "ca.pem"), strict=True):
            copied = self.directory / "etc" / name
            shutil.copyfile(source, copied)
            self._identity.own(copied)

    def _start_on_free_ports(self) -> None:
        for left in reversed(range(_TRIES)):
            # Nothing reserves a free port until Dovecot binds it: when somebody else was faster, try others.
            self.port, self.tls_port = _free_ports()
            self._write_configuration()
            self._launch()
            try:
                self._wait_for_greeting()
            except DovecotError:
                if not (left and "Address already in use" in self.log):
                    raise
                self._kill()
            else:
                return

    def _write_configuration(self) -> None:
        text = _configuration(
            self.version,
            directory=self.directory,
            identity=self._identity,
            host=self.host,
            port=self.port,
            tls_port=self.tls_port,
        )
        dialect = _MECHANISMS_2_4 if self.version >= (2, 4) else _MECHANISMS_2_3
        mechanisms = _PASSWORD_MECHANISMS
        if self._introspection:
            mechanisms += " xoauth2 oauthbearer"
            text += dialect["token"].format(directory=self.directory)
        if self._client_certificates:
            mechanisms += " external"
            text += dialect["certificate"].format(directory=self.directory)
        settings = {"auth_mechanisms": mechanisms, **self._settings}
        text += "".join(f"{key} = {value}\n" for key, value in settings.items())
        introspection = _INTROSPECTION.format(url=self._introspection)
        (self.directory / "etc" / "introspection.conf").write_text(introspection)
        (self.directory / "dovecot.conf").write_text(text)

    def _launch(self) -> None:
        # Dovecot stays in the foreground and dies with us, even when we are killed; as the head of its own session it
        # takes all its children along in one process group. No pipe: a child would keep it open.
        configuration = str(self.directory / "dovecot.conf")
        command = [*self._identity.command(), self._program, "-F", "-c", configuration]
        (self.directory / "dovecot.log").unlink(missing_ok=True)
        with (self.directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", start_new_session=True
            )

    def _wait_for_greeting(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            if _greets(self.host, self.port):
                return
            time.sleep(_PATIENCE)
        output = (self.directory / "output").read_text(errors="replace")
        raise DovecotError(f"Dovecot did not start:\n{output}{self.log}")

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for sign, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            if process_group(process.pid):
                os.killpg(process.pid, sign)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                process.poll()
                if not process_group(process.pid):
                    process.wait()
                    return
                time.sleep(_PATIENCE)
        raise DovecotError(f"Dovecot's processes {process_group(process.pid)} do not end:\n{self.log}")


@dataclass(frozen=True, slots=True)
class _Identity:
    """The user that Dovecot runs as, and how to become that user."""

    user: str
    group: str
    uid: int
    gid: int

    @classmethod
    def choose(cls) -> "_Identity":
        entry = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        return cls(entry.pw_name, grp.getgrgid(entry.pw_gid).gr_name, entry.pw_uid, entry.pw_gid)

    def command(self) -> list[str]:
        command = [_find("setpriv"), "--pdeathsig=TERM"]
        if os.geteuid() == 0:
            command += [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", "--no-new-privs"]
        return [*command, "--"]

    def own(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)

    def make_directory(self, path: Path) -> None:
        for parent in (path.parent, path):
            if not parent.exists():
                parent.mkdir(mode=0o755)
                self.own(parent)


def _find(program: str) -> str:
    path = shutil.which(program, path=_SEARCH)
    if path is None:
        package = {"dovecot": "dovecot-pop3d", "setpriv": "util-linux"}[program]
        raise DovecotMissingError(f"{program} is missing: apt-get install {package}")
    return path


def _version(program: str) -> tuple[int, int]:
    answer = subprocess.run(
        [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=START_SECONDS, check=True
    )
    major, minor = answer.stdout.split(b".")[:2]
    return int(major), int(minor)


def _free_ports() -> tuple[int, int]:
    with socket.create_server((Dovecot.host, 0)) as one, socket.create_server((Dovecot.host, 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def _greets(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0) as line:
            return line.recv(512).startswith(b"+OK")
    except OSError:
        return False


def process_group(group: int) -> list[int]:
    """Returns the processes of a process group, zombies not counted: whoever adopted those may never reap them."""
    living = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            state, _parent, its_group = stat.rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                living.append(int(entry.name))
    return living


def _configuration(
    version: tuple[int, int],
    *,
    directory: Path,
    identity: _Identity,
    host: str,
    port: int,
    tls_port: int,
) -> str:
    new = version >= (2, 4)
    # Dovecot 2.4 wants to be told first thing which language follows.
    head = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n" if new else ""
    return (head + _COMMON + (_DIALECT_2_4 if new else _DIALECT_2_3)).format(
        many_sessions="restart_request_count = unlimited" if new else "service_count = 0",
        directory=directory,
        user=identity.user,
        group=identity.group,
        uid=identity.uid,
        gid=identity.gid,
        host=host,
        port=port,
        tls_port=tls_port,
    )


_COMMON: Final = """\
base_dir = {directory}/run
state_dir = {directory}/state
instance_name = {directory.name}
log_path = {directory}/dovecot.log
protocols = pop3
listen = {host}
ssl = yes
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 0
first_valid_gid = 0
mail_uid = {uid}
mail_gid = {gid}
auth_failure_delay = 0 secs
mail_max_userip_connections = 1000
mail_fsync = never
service anvil {{
  chroot =
  # Else the second wrong password from an address costs a delay, the third a longer one.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service pop3-login {{
  chroot =
  {many_sessions}
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = {tls_port}
    ssl = yes
  }}
}}
"""

_PASSWORD_MECHANISMS: Final = "plain login apop cram-md5 scram-sha-1 scram-sha-256"

_DIALECT_2_3: Final = """\
ssl_cert = <{directory}/etc/cert.pem
ssl_key = <{directory}/etc/key.pem
disable_plaintext_auth = no
mail_location = maildir:{directory}/mail/%u
pop3_uidl_format = %08Xu%08Xv
passdb {{
  driver = passwd-file
  args = username_format=%u {directory}/users/%u
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={directory}/mail/%u
}}
"""

_DIALECT_2_4: Final = """\
ssl_server_cert_file = {directory}/etc/cert.pem
ssl_server_key_file = {directory}/etc/key.pem
auth_allow_cleartext = yes
mail_driver = maildir
mail_path = {directory}/mail/%{{user}}
passdb passwd-file {{
  passwd_file_path = {directory}/users/%{{user}}
}}
userdb static {{
  fields {{
    uid = {uid}
    gid = {gid}
    home = {directory}/mail/%{{user}}
  }}
}}
"""

_INTROSPECTION: Final = """\
introspection_mode = post
introspection_url = {url}
username_attribute = sub
active_attribute = active
active_value = true
"""

_MECHANISMS_2_3: Final = {
    "token": """\
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {directory}/etc/introspection.conf
}}
""",
    "certificate": """\
ssl_ca = <{directory}/etc/ca.pem
ssl_require_crl = no
ssl_verify_client_cert = yes
auth_ssl_username_from_cert = yes
passdb {{
  driver = static
  mechanisms = external
  args = nopassword=yes
}}
""",
}

_MECHANISMS_2_4: Final = {
    "token": """\
oauth2 {{
  !include {directory}/etc/introspection.conf
}}
passdb oauth2 {{
  mechanisms_filter = xoauth2 oauthbearer
}}
""",
    "certificate": """\
ssl_server_ca_file = {directory}/etc/ca.pem
ssl_server_require_crl = no
ssl_server_request_client_cert = yes
auth_ssl_username_from_cert = yes
passdb static {{
  mechanisms_filter = external
  fields {{
    nopassword = yes
  }}
}}
""",
}
