"""A mail host: a machine with fetchd and a POP3 server in it, and what an operator does there."""

from types import TracebackType
from typing import Final, Self

from tests.systemd.machine import Machine

SECRET: Final = "correct horse"
DROP_INS: Final = "/etc/systemd/system"
_SERVER: Final = f"""
import sys, time
sys.path.insert(0, "/usr/lib/fetchd")
from fetchd.demo import DemoServer
mail = [(b"%d" % n, b"Subject: %d\\n\\nx\\n" % n) for n in range(3)]
drops = {{user: ({SECRET!r}, mail) for user in ("alice", "bob", "carol")}}
with DemoServer(drops) as server:
    with open("/run/pop3.port", "w") as file:
        file.write(str(server.port))
    while True:
        time.sleep(1000)
"""
_SERVER_UNIT: Final = """
[Unit]
# A unit that nothing refers to is forgotten when it stops, and how it ended with it.
Before=fetchd.service
[Service]
ExecStart=/usr/bin/python3 /usr/lib/pop3.py
"""


class Host:
    """A mail host that is up."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.port = 0

    def __enter__(self) -> Self:
        machine = self.machine
        machine.run("systemd-sysusers")
        machine.write("/usr/lib/pop3.py", _SERVER)
        machine.write(f"{DROP_INS}/pop3.service", _SERVER_UNIT)
        machine.write("/etc/fetchd/secrets/mail", f"{SECRET}\n", mode=0o600)
        machine.run("install", "-d", "-o", "fetchd", "/srv/mail")
        machine.run("systemctl", "start", "pop3")
        port = machine.root / "run/pop3.port"
        machine.wait_until("the POP3 server", lambda: port.exists() and port.read_text() != "")
        self.port = int(port.read_text())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.machine.stop()

    def clean(self) -> None:
        """Stops fetchd, and takes away what a test configured."""
        for unit in ("fetchd", "fetchd@work"):
            self.machine.call("systemctl", "stop", unit)
            self.machine.call("systemctl", "reset-failed", unit)
        self.machine.run("rm", "-rf", f"{DROP_INS}/fetchd.service.d", f"{DROP_INS}/fetchd@.service.d")
        self.machine.run("sh", "-c", "rm -rf /etc/fetchd/*.yaml /var/lib/fetchd* /srv/mail/*")
        self.drop_in("secrets", "LoadCredential=mail:/etc/fetchd/secrets/mail")

    @property
    def is_new(self) -> bool:
        """Whether this systemd knows notify-reload."""
        return int(self.machine.run("systemctl", "--version").split()[1]) >= 253

    def drop_in(self, name: str, *lines: str) -> None:
        """Changes both units as "systemctl edit" does."""
        for unit in ("fetchd.service", "fetchd@.service"):
            self.machine.write(f"{DROP_INS}/{unit}.d/{name}.conf", "\n".join(("[Service]", *lines, "")))
        self.machine.run("systemctl", "daemon-reload")

    def notify_reload(self) -> None:
        """Installs the drop-in for a newer systemd."""
        text = (self.machine.root / "usr/share/doc/fetchd/notify-reload.conf").read_text()
        self.machine.write(f"{DROP_INS}/fetchd.service.d/notify-reload.conf", text)
        self.machine.run("systemctl", "daemon-reload")

    def configure(self, *accounts: str, wrong: tuple[str, ...] = (), name: str = "fetchd", form: str = "auto") -> None:
        """Writes a configuration; the password of those in ``wrong`` is no longer right."""
        text = f"log: {{level: debug, format: {form}}}\naccounts:\n" + "".join(
            f"  {account}:\n"
            f"    host: 127.0.0.1\n    port: {self.port}\n    tls: none\n    interval: 1h\n"
            f"    user: {'mallory' if account in wrong else account}\n"
            "    password: {credential: mail}\n"
            f"    deliver: {{maildir: /srv/mail/{account}}}\n"
            for account in accounts
        )
        self.machine.write(f"/etc/fetchd/{name}.yaml", text)

    def systemctl(self, verb: str, unit: str = "fetchd") -> None:
        """Does something to fetchd's unit, which works."""
        self.machine.run("systemctl", verb, unit)

    def status_text(self, unit: str = "fetchd") -> str:
        """Returns what fetchd says of itself in "systemctl status"."""
        return self.machine.shows(unit, "StatusText")

    def wait_for_status(self, start: str, unit: str = "fetchd") -> str:
        """Returns the text once it starts like this."""
        what = f"a status {start!r}"
        return self.machine.wait_until(
            what, lambda: text if (text := self.status_text(unit)).startswith(start) else None
        )

    def events(self, name: str, unit: str = "fetchd.service") -> list[tuple[int, str]]:
        """Returns priority and message of the journal's lines about an event, since the unit was last started."""
        found = self.machine.journal(unit, f"_SYSTEMD_INVOCATION_ID={self.machine.shows(unit, 'InvocationID')}")
        return [(int(entry["PRIORITY"]), entry["MESSAGE"]) for entry in found if entry.get("FETCHD_EVENT") == name]
