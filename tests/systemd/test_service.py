"""systemd/: fetchd as a service of a real systemd, one older than notify-reload and one newer."""

import json
import os

import pytest

from tests.systemd.host import Host

pytestmark = pytest.mark.systemd


def test_it_is_started_once_its_configuration_is_live_and_says_how_things_stand(host: Host) -> None:
    """The password comes from a credential that only root can read where it is kept."""
    host.configure("alice", "bob", wrong=("bob",))
    host.systemctl("start")
    assert host.machine.shows("fetchd", "SubState") == "running"
    assert host.events("daemon.started"), "READY came before"
    line = host.wait_for_status("2 accounts, 1 failing, next poll ")
    assert line.count(":") == 2
    assert len(list((host.machine.root / "srv/mail/alice/new").iterdir())) == 3
    assert "correct horse" not in host.machine.run("systemctl", "show", "fetchd")


def test_a_configuration_that_cannot_be_used_fails_the_start_once_and_the_journal_says_why(host: Host) -> None:
    host.machine.write("/etc/fetchd/fetchd.yaml", "accounts:\n  alice: {hots: pop.example.org}\n")
    assert host.machine.call("systemctl", "start", "fetchd").returncode == 1
    host.machine.wait_until("the end", lambda: host.machine.shows("fetchd", "ActiveState") == "failed")
    assert host.machine.shows("fetchd", "ExecMainStatus") == "78"
    assert host.machine.shows("fetchd", "NRestarts") == "0"
    errors = host.machine.journal("fetchd.service", "-p", "err", "-n", "20")
    assert any("hots" in entry["MESSAGE"] and not entry["MESSAGE"].startswith("<") for entry in errors)


def test_a_reload_brings_a_changed_configuration_into_force(host: Host) -> None:
    host.configure("alice")
    host.systemctl("start")
    host.wait_for_status("1 account, next poll")
    process = host.machine.shows("fetchd", "MainPID")
    host.configure("alice", "carol")
    host.systemctl("reload")
    host.wait_for_status("2 accounts, next poll")
    assert host.machine.shows("fetchd", "ActiveState") == "active"
    assert host.machine.shows("fetchd", "MainPID") == process
    assert len(list((host.machine.root / "srv/mail/carol/new").iterdir())) == 3


def test_a_reload_with_an_error_in_the_configuration_fails_and_changes_nothing(host: Host) -> None:
    host.configure("alice")
    host.systemctl("start")
    host.wait_for_status("1 account, next poll")
    host.machine.write("/etc/fetchd/fetchd.yaml", "accounts:\n  alice: {hots: pop.example.org}\n")
    assert host.machine.call("systemctl", "reload", "fetchd").returncode == 1
    assert host.machine.shows("fetchd", "ActiveState") == "active"
    assert host.status_text().startswith("1 account, next poll")
    assert host.events("config.reload_failed") == []
    assert any("hots" in entry["MESSAGE"] for entry in host.machine.journal("fetchd.service", "-n", "20"))


def test_with_notify_reload_a_reload_returns_once_the_configuration_is_live(host: Host) -> None:
    if not host.is_new:
        pytest.skip("this systemd is older than 253")
    host.notify_reload()
    host.configure("alice")
    host.systemctl("start")
    host.wait_for_status("1 account, next poll")
    host.configure("alice", "carol")
    host.systemctl("reload")
    assert len(host.events("config.reloaded")) == 1
    host.machine.write("/etc/fetchd/fetchd.yaml", "accounts:\n  alice: {hots: pop.example.org}\n")
    host.systemctl("reload")
    assert [priority for priority, _ in host.events("config.reload_failed")] == [3]
    assert "the last reload failed" in host.machine.wait_until(
        "the reason", lambda: text if "; " in (text := host.status_text()) else None
    )


def test_the_watchdog_is_fed_while_nothing_happens_and_restarts_a_main_loop_that_stands_still(host: Host) -> None:
    host.drop_in("watchdog", "WatchdogSec=3", "RestartSec=0")
    host.configure("alice")
    host.systemctl("start")
    host.wait_for_status("1 account, next poll")
    fed = set()

    def fed_five_times() -> bool:
        fed.add(host.machine.shows("fetchd", "WatchdogTimestampMonotonic"))
        return len(fed) >= 5

    host.machine.wait_until("a watchdog that is fed", fed_five_times)
    assert host.machine.shows("fetchd", "NRestarts") == "0"
    process = host.machine.shows("fetchd", "MainPID")
    host.machine.run("systemctl", "kill", "--signal=STOP", "--kill-whom=main", "fetchd")
    host.machine.wait_until("a restart", lambda: host.machine.shows("fetchd", "NRestarts") == "1")
    host.wait_for_status("1 account, next poll")
    assert host.machine.shows("fetchd", "MainPID") != process
    assert "Watchdog timeout" in host.machine.run("journalctl", "-q", "--no-pager", "-u", "fetchd", "-n", "300")
    assert len(list((host.machine.root / "srv/mail/alice/new").iterdir())) == 3, "nothing comes twice"


def test_it_stops_cleanly(host: Host) -> None:
    host.configure("alice")
    host.systemctl("start")
    host.wait_for_status("1 account, next poll")
    host.systemctl("stop")
    assert host.machine.shows("fetchd", "Result") == "success"
    assert host.machine.shows("fetchd", "ExecMainStatus") == "0"
    assert host.machine.shows("fetchd", "ExecMainCode") == str(os.CLD_EXITED), "it exited by itself"
    assert len(host.events("daemon.stopped")) == 1


def test_the_journal_gets_priorities_fields_and_messages_that_a_human_reads(host: Host) -> None:
    host.configure("alice", "bob", wrong=("bob",))
    host.systemctl("start")
    host.wait_for_status("2 accounts, 1 failing, next poll ")
    (done,) = host.events("poll.done")
    (failed,) = host.events("poll.failed")
    assert done[0] == 6
    assert done[1].startswith("poll.done account=alice new=3 ")
    assert failed[0] == 4
    assert failed[1].startswith("poll.failed account=bob outcome=auth ")
    invocation = f"_SYSTEMD_INVOCATION_ID={host.machine.shows('fetchd', 'InvocationID')}"
    (by_fields,) = host.machine.journal("fetchd.service", invocation, "FETCHD_ACCOUNT=bob", "FETCHD_OUTCOME=auth")
    assert (by_fields["FETCHD_EVENT"], by_fields["SYSLOG_IDENTIFIER"]) == ("poll.failed", "fetchd")
    assert [priority for priority, _ in host.events("poll.start")] == [7, 7]


def test_a_form_that_was_asked_for_has_priorities_in_the_journal_too(host: Host) -> None:
    host.configure("alice", form="json")
    host.systemctl("start")
    host.wait_for_status("1 account, next poll")
    found = host.machine.journal(
        "fetchd.service", f"_SYSTEMD_INVOCATION_ID={host.machine.shows('fetchd', 'InvocationID')}"
    )
    lines = [(entry["PRIORITY"], json.loads(entry["MESSAGE"])) for entry in found if entry["MESSAGE"].startswith("{")]
    assert ("6", "poll.done") in [(priority, line["event"]) for priority, line in lines]
    assert ("7", "poll.start") in [(priority, line["event"]) for priority, line in lines]


def test_an_instance_has_a_configuration_and_a_state_of_its_own(host: Host) -> None:
    host.configure("carol", name="work")
    host.systemctl("start", "fetchd@work")
    host.wait_for_status("1 account, next poll", "fetchd@work")
    assert (host.machine.root / "var/lib/fetchd-work/fetchd.db").exists()
    assert not (host.machine.root / "var/lib/fetchd").exists()
    assert len(list((host.machine.root / "srv/mail/carol/new").iterdir())) == 3
    host.configure("carol", "alice", name="work")
    host.systemctl("reload", "fetchd@work")
    host.wait_for_status("2 accounts, next poll", "fetchd@work")


def test_the_machines_systemd_has_nothing_to_say_about_the_units(host: Host) -> None:
    """The newest of them, too, with the drop-in that is made for it."""
    if host.is_new:
        host.notify_reload()
    for unit in ("fetchd.service", "fetchd@work.service"):
        said = host.machine.call("systemd-analyze", "verify", "--man=no", unit)
        assert (said.returncode, said.stdout) == (0, "")
    scored = host.machine.call("systemd-analyze", "security", "--threshold=15", "--no-pager", "fetchd.service")
    assert scored.returncode == 0, scored.stdout


def test_an_operator_asks_for_a_poll_at_the_control_socket_in_the_runtime_directory(host: Host) -> None:
    host.configure("alice", "carol")
    host.systemctl("start")
    host.wait_for_status("2 accounts, next poll")
    assert host.machine.run("fetchd", "poll", "alice") == "alice: now\n"
    host.machine.wait_until("a second poll", lambda: len(host.events("poll.start")) == 3)
    assert (host.machine.root / "run/fetchd/control").exists()
    told = json.loads(host.machine.run("fetchd", "status", "--json"))
    assert (told["source"], told["counts"]["ok"]) == ("daemon", 2)
    misspelt = host.machine.call("fetchd", "poll", "carl")
    assert (misspelt.returncode, misspelt.stdout) == (2, "fetchd: no account 'carl'; did you mean \"carol\"?\n")
    host.systemctl("stop")
    refused = host.machine.call("fetchd", "poll")
    assert refused.returncode == 1
    assert refused.stdout.startswith("fetchd: no fetchd runs with this configuration: nobody listens at ")


def test_an_instance_is_asked_by_its_configuration(host: Host) -> None:
    host.configure("carol", name="work")
    host.systemctl("start", "fetchd@work")
    host.wait_for_status("1 account, next poll", "fetchd@work")
    assert host.machine.run("fetchd", "-c", "/etc/fetchd/work.yaml", "poll") == "1 account: now\n"


def test_a_newcomer_goes_from_init_to_a_service_and_no_message_comes_twice(host: Host) -> None:
    """As root, by init's own words: the configuration is for the user fetchd, and the commands run as that user."""
    run = host.machine.run
    server = ("--host", "127.0.0.1", "--port", str(host.port), "--tls", "none", "--user", "alice")
    secret = ("--password-file", "/etc/fetchd/secrets/alice")
    run("install", "-o", "fetchd", "-m", "600", "/etc/fetchd/secrets/mail", "/etc/fetchd/secrets/alice")
    target = ("--maildir", "/srv/mail/a")
    said = run("fetchd", "init", "--address", "alice@example.org", *server, *secret, *target, "--yes")
    assert "/etc/fetchd/fetchd.yaml" in said
    as_fetchd = ("runuser", "-u", "fetchd", "--", "fetchd")
    assert "3" in run(*as_fetchd, "check", "--connect")
    assert run(*as_fetchd, "--once").endswith("1 account: 3 new messages (42 bytes)\n")
    host.systemctl("start")
    host.wait_for_status("1 account, next poll")
    host.machine.wait_until(
        "its first poll", lambda: json.loads(run("fetchd", "status", "--json"))["counts"]["ok"] == 1
    )
    assert len(list((host.machine.root / "srv/mail/a/new").iterdir())) == 3
