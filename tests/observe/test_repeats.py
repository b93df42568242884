"""fetchd.observe.repeats: first failures and changes are news, retries are not."""

from fetchd.errors import Retry
from fetchd.events import InternalError, PollDone, PollFailed, PollScheduled, Reloaded, TooLarge
from fetchd.model import Outcome, PollResult, SkipReason, UniqueId
from fetchd.observe.repeats import ON_HOLD, Repeats


def failed(account: str = "a", outcome: Outcome = Outcome.AUTH, error: str = "no", retry: str = "later") -> PollFailed:
    return PollFailed(account, outcome, error, retry, PollResult(account), 0.1)


def done(account: str = "a", delivered: int = 0, deleted: int = 0) -> PollDone:
    return PollDone(account, PollResult(account, delivered=delivered, deleted=deleted), 0.1)


def test_the_same_failure_again_is_debug() -> None:
    repeats = Repeats()
    assert [repeats.weigh(failed()) for _ in range(3)] == [("warning", {}), ("debug", {}), ("debug", {})]


def test_each_change_of_a_failure_is_news() -> None:
    repeats = Repeats()
    changes = [
        failed(),
        failed(outcome=Outcome.NETWORK),
        failed(outcome=Outcome.NETWORK, error="other"),
        failed(outcome=Outcome.NETWORK, error="other", retry="hold"),
        failed(),
    ]
    assert [repeats.weigh(event)[0] for event in changes] == ["warning"] * 5


def test_what_changes_at_every_retry_is_no_news() -> None:
    """Servers put times and session ids into their refusals; of several addresses one is refused, one silent."""
    repeats = Repeats()
    busy = [failed(error=f"-ERR [SYS/TEMP] try later (Tue 10:0{n} id={n}f3a@mx{n})", retry="soon") for n in range(4)]
    assert [repeats.weigh(event)[0] for event in busy] == ["warning", "debug", "debug", "debug"]
    down = [
        failed(outcome=Outcome.NETWORK, error=why, retry="soon") for why in ("192.0.2.1: refused", "192.0.2.2: slow")
    ]
    assert [repeats.weigh(event)[0] for event in down * 3] == ["warning", "warning", "debug", "debug", "debug", "debug"]


def test_a_server_that_words_each_refusal_anew_does_not_fill_the_log() -> None:
    repeats = Repeats()
    levels = [repeats.weigh(failed(error="no" + "!" * n))[0] for n in range(100)]
    assert levels == ["warning"] * 16 + ["debug"] * 84


def test_being_put_on_hold_is_told_once() -> None:
    """The daemon holds an account after five refused logins; the error itself does not say so."""
    repeats = Repeats()

    def scheduled(retry: str | None) -> PollScheduled:
        return PollScheduled("a", at=0.0, delay=60.0, failures=1, retry=Retry(retry) if retry else None)

    assert repeats.weigh(failed())[0] == "warning"
    assert repeats.weigh(scheduled("later")) == ("debug", {})
    assert repeats.weigh(failed())[0] == "debug"
    assert repeats.weigh(scheduled("hold")) == ("warning", {"text": ON_HOLD})
    assert repeats.weigh(failed())[0] == "debug"
    assert repeats.weigh(scheduled("hold")) == ("debug", {})
    assert repeats.weigh(done()) == ("info", {"recovered": True})
    assert repeats.weigh(failed(retry="hold"))[0] == "warning"
    assert repeats.weigh(scheduled("hold")) == ("debug", {}), "the failure said so"


def test_accounts_are_weighed_apart() -> None:
    repeats = Repeats()
    assert [repeats.weigh(failed(name))[0] for name in ("a", "b", "a")] == ["warning", "warning", "debug"]
    assert repeats.weigh(done("a")) == ("info", {"recovered": True})
    assert repeats.weigh(failed("b"))[0] == "debug"


def test_the_first_success_after_failures_is_said_once() -> None:
    repeats = Repeats()
    repeats.weigh(failed())
    assert repeats.weigh(done()) == ("info", {"recovered": True})
    assert repeats.weigh(done()) == ("debug", {})
    assert repeats.weigh(failed())[0] == "warning"


def test_a_success_is_info_only_where_something_was_done() -> None:
    repeats = Repeats()
    assert repeats.weigh(done()) == ("debug", {})
    assert repeats.weigh(done(delivered=1)) == ("info", {})
    assert repeats.weigh(done(deleted=1)) == ("info", {})


def test_a_bug_that_strikes_again_is_debug_and_recovers_like_a_failure() -> None:
    repeats = Repeats()
    bug = InternalError("a", "KeyError: 1", "Traceback …")
    assert [repeats.weigh(bug)[0] for _ in range(2)] == ["error", "debug"]
    assert repeats.weigh(done()) == ("info", {"recovered": True})
    assert repeats.weigh(bug)[0] == "error"


def test_an_interrupted_poll_is_no_change_of_state() -> None:
    repeats = Repeats()
    repeats.weigh(failed())
    assert repeats.weigh(failed(outcome=Outcome.INTERRUPTED, error="stopped")) == ("info", {})
    assert repeats.weigh(failed())[0] == "debug"
    fresh = Repeats()
    fresh.weigh(failed(outcome=Outcome.INTERRUPTED))
    assert fresh.weigh(done()) == ("debug", {})


def test_a_reload_forgets_what_it_removed_or_changed() -> None:
    repeats = Repeats()
    for name in ("kept", "changed", "removed"):
        repeats.weigh(failed(name))
    assert repeats.weigh(Reloaded(2, added=(), removed=("removed",), changed=("changed",))) == ("info", {})
    levels = [repeats.weigh(failed(name))[0] for name in ("kept", "changed", "removed")]
    assert levels == ["debug", "warning", "warning"]


def test_a_message_that_stays_too_large_is_told_once_not_at_every_poll() -> None:
    repeats = Repeats()
    large = TooLarge("a", UniqueId(b"1"), SkipReason.TOO_LARGE, 5000)
    other = TooLarge("b", UniqueId(b"1"), SkipReason.TOO_LARGE, 5000)
    levels = []
    for _ in range(3):
        levels.append(repeats.weigh(large)[0])
        repeats.weigh(failed())
        repeats.weigh(done())
    assert levels == ["warning", "debug", "debug"]
    assert repeats.weigh(other)[0] == "warning"
    repeats.weigh(done())
    assert repeats.weigh(large)[0] == "warning", "it was not skipped in the poll before: this is news"
