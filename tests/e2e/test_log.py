"""What the real daemon logs of an account that fails for a while: its first failure, what changes, its recovery."""

import signal
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fetchd.demo import DemoServer
from tests.e2e.running import Running, http_get, write_config


def polls(address: str) -> int:
    """Returns how many polls have ended."""
    families = text_string_to_metric_families(http_get(address, "/metrics"))
    return int(sum(one.value for family in families for one in family.samples if one.name == "fetchd_polls_total"))


def test_a_failing_account_is_told_once_put_on_hold_once_and_well_again_once(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    secret.chmod(0o600)
    with DemoServer({"alice": ("demo", [(b"one", b"Subject: one\n\nx\n")])}) as server:
        account = {
            "host": "127.0.0.1",
            "port": server.port,
            "tls": "none",
            "user": "alice",
            "password": {"file": str(secret)},
            "interval": "1h",
            "deliver": {"maildir": str(tmp_path / "Maildir")},
        }
        config = write_config(tmp_path, {"alice": account}, http="127.0.0.1:0")
        with Running(tmp_path, ["-c", str(config)]) as daemon:
            (listening,) = daemon.wait_for_event("http.listening")
            address = listening["address"]

            def poll_again(so_far: int) -> None:
                daemon.wait_for(lambda: polls(address) == so_far)
                daemon.signal(signal.SIGUSR1)
                daemon.wait_for(lambda: polls(address) == so_far + 1)

            for so_far in range(1, 7):
                poll_again(so_far)
            secret.write_text("demo\n")
            for so_far in range(7, 10):
                poll_again(so_far)
            assert daemon.stop() == 0
    said = [line for name in ("poll.failed", "poll.next", "poll.done") for line in daemon.events(name)]
    assert [(line["event"], line["level"]) for line in said] == [
        ("poll.failed", "warning"),
        ("poll.next", "warning"),
        ("poll.done", "info"),
    ]
    failed, held, done = said
    assert (failed["account"], failed["outcome"], failed["retry"]) == ("alice", "auth", "later")
    assert (held["account"], held["retry"], held["failures"]) == ("alice", "hold", 5)
    assert (done["account"], done["new"], done["bytes"], done["recovered"]) == ("alice", 1, 16, True)
    assert isinstance(done["took"], float)
