"""fetchd.observe.repeats: first failures and changes are news, retries are not."""

from fetchd.events import InternalError, PollDone, PollFailed, Reloaded, TooLarge
from fetchd.model import Outcome, PollResult, SkipReason, UniqueId
from fetchd.observe.repeats import Repeats


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
