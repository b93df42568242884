"""``fetchd init`` without a terminal, and its parts: what has to be said, what is proposed, what is refused."""

import errno
import getpass
import os
import signal
import stat
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fetchd import providers
from fetchd.cli import init
from fetchd.cli.init import locate
from fetchd.cli.init.draft import free_name
from fetchd.config import load, paths, placing
from fetchd.discovery import Finding, Findings, MailAddress
from fetchd.discovery.finding import Rank
from fetchd.errors import FetchdError
from fetchd.model import MaildirTarget, MboxTarget, SecretEnv, SecretFile, TlsMode
from fetchd.providers import Provider

ENOUGH = ("--address", "alice@example.org", "--host", "pop.example.org", "--password-env", "X", "--yes")


class Place:
    """A home directory, and ``fetchd init`` in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "conf" / "fetchd.yaml"

    def init(self, *options: str, typed: str | bytes = "") -> Result:
        arguments = [str(self.path), *options]
        env = {"HOME": str(self.home), "XDG_CONFIG_HOME": None, "FETCHD_CONFIG": None}
        return CliRunner().invoke(init.init, arguments, input=typed, env=env, obj=None)

    def refuses(self, *options: str, typed: str | bytes = "") -> str:
        """Runs it; returns why it refuses, with nothing written."""
        before = sorted(self.home.rglob("*"))
        result = self.init(*options, typed=typed)
        assert isinstance(result.exception, FetchdError), result.output
        assert sorted(self.home.rglob("*")) == before
        return str(result.exception)

    def account(self, name: str = "alice-example") -> Any:
        return load(self.path, environ={"HOME": str(self.home)}).accounts[name]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    def nobody(address: MailAddress) -> Findings:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(init, "search", nobody)
    return Place(tmp_path)


def finds(monkeypatch: pytest.MonkeyPatch, *found: Finding, notes: tuple[str, ...] = ()) -> None:
    monkeypatch.setattr(init, "search", lambda address: Findings(found, notes))


def found(host: str = "pop.example.org", tls: TlsMode = TlsMode.IMPLICIT, **more: Any) -> Finding:
    return Finding(host, 995, tls, "its website", Rank.DOMAIN, **{"is_vouched": True, **more})


# ── what is missing ──────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_terminal_everything_missing_is_said_at_once_with_its_option(place: Place) -> None:
    said = place.refuses()
    assert said.splitlines()[1:] == [
        "        the account: give --address ADDRESS, or --host HOST and --user USER",
        "        the password: give --password-file FILE, --password-env VARIABLE or --password-stdin",
        "        where the mail goes: give --maildir DIRECTORY or --mbox FILE, or --yes for ~/Maildir",
    ]


def test_an_unknown_domain_offline_takes_a_host(place: Place) -> None:
    options = ("--address", "alice@example.org", "--password-env", "X", "--yes", "--offline")
    assert place.refuses(*options) == "nobody knows the POP3 server of example.org: give --host"


def test_a_host_without_an_address_takes_a_user(place: Place) -> None:
    assert "--user" in place.refuses("--host", "h.org", "--password-env", "X", "--yes")
    assert place.init("--host", "pop.h.org", "--user", "Al", "--password-env", "X", "--yes").exit_code == 0
    assert place.account("al-h").user == "Al"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--maildir", "/a", "--mbox", "/b"), "contradict"),
        (("--keep", "--delete-after", "3d"), "contradict"),
        (("--password-stdin",), "several ways to log in"),
        (("--address", "alice"), "--address: an e-mail address is expected"),
        (("--host", "pop.example.org:995"), "--host: .* holds a port"),
        (("--host", "pop3s://pop.example.org"), "--host: a host is expected, not a URL"),
        (("--host", "unix:/run/pop3"), "--host: a Unix socket is not set up here"),
        (("--delete-after", "14"), "--delete-after: 14 has no unit|--delete-after"),
        (("--interval", "soon"), "--interval: "),
        (("--name", "a b"), "--name: a name is"),
        (("--user", "a\nb"), "--user: holds a line break"),
        (("--user", ""), "--user is empty"),
        (("--owner", "no such user"), "--owner: "),
        (("--maildir", "~bob/Maildir"), "--maildir: only a leading ~/"),
        (("--tls", "none"), "add --allow-plaintext-password"),
        (("--client-id", "x", "--password-env", "X"), "several ways"),
    ],
)
def test_what_is_no_good_is_one_line_with_its_option(options: tuple[str, ...], said: str, place: Place) -> None:
    import re  # noqa: PLC0415

    text = place.refuses(*ENOUGH, *options)
    assert re.search(said, text)
    assert "\n" not in text


@pytest.mark.parametrize("typed", [b"", b"\n", b"a\nb\n", b"a\0b", b"x" * 70000])
def test_a_password_that_is_none_is_refused(typed: bytes, place: Place) -> None:
    options = ("--address", "a@example.org", "--host", "h.org", "--password-stdin", "--yes")
    assert place.refuses(*options, typed=typed).startswith("--password-stdin: ")


# ── what is written ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_least_that_is_said_gives_a_safe_account(place: Place) -> None:
    result = place.init(*ENOUGH)
    assert result.exit_code == 0, result.output
    account = place.account()
    assert (account.host, account.port, account.tls.mode) == ("pop.example.org", 995, TlsMode.IMPLICIT)
    assert (account.user, account.password) == ("alice@example.org", SecretEnv("X"))
    assert account.target == MaildirTarget(place.home / "Maildir", owner=account.target.owner)
    assert (account.policy.delete_after, account.interval) == (None, 300)
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o600
    assert f"fetchd -c {place.path} --once" in result.output


def test_everything_that_is_said_is_taken(place: Place) -> None:
    secret = place.home / "secret"
    secret.write_text("x\n")
    result = place.init(
        *("--host", "pop.example.org", "--port", "110", "--user", "alice", "--password-file", str(secret)),
        *("--mbox", str(place.home / "a" / "b" / "box"), "--delete-after", "14d", "--interval", "1h", "--name", "mine"),
    )
    assert result.exit_code == 0, result.output
    account = place.account("mine")
    assert (account.port, account.tls.mode, account.user) == (110, TlsMode.STARTTLS, "alice")
    assert account.password == SecretFile(secret)
    assert account.target == MboxTarget(place.home / "a" / "b" / "box", create_parents=True)
    assert (account.policy.delete_after, account.interval) == (14 * 86400, 3600)


@pytest.mark.parametrize(("option", "after"), [("--keep", None), ("--delete", 0)])
def test_whether_mail_stays_is_as_was_said(option: str, after: int | None, place: Place) -> None:
    assert place.init(*ENOUGH, option).exit_code == 0
    assert place.account().policy.delete_after == after


def test_a_password_from_stdin_gets_a_private_file_and_is_nowhere_else(place: Place) -> None:
    options = ("--address", "alice@example.org", "--host", "h.org", "--password-stdin", "--yes")
    result = place.init(*options, typed="hunter2\n")
    assert result.exit_code == 0, result.output
    file = place.path.parent / "secrets" / "alice-example"
    assert place.account().password == SecretFile(file)
    assert file.read_bytes() == b"hunter2\n"
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)
    assert "hunter2" not in result.output + place.path.read_text()


def test_a_file_that_exists_is_never_overwritten(place: Place) -> None:
    assert place.init(*ENOUGH).exit_code == 0
    text = place.path.read_text()
    assert "--add" in place.refuses(*ENOUGH)
    assert place.path.read_text() == text


def test_when_the_configuration_cannot_be_written_no_password_is_left(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fetchd.config.placing.place_new", full)
    options = ("--address", "alice@example.org", "--host", "h.org", "--password-stdin", "--yes")
    result = place.init(*options, typed="hunter2\n")
    assert result.exit_code == 130
    assert "nothing was written" in result.output
    assert [path for path in place.home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_amid_the_writing_leaves_all_of_it_or_nothing(
    number: signal.Signals, code: int, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stops it is told the truth: a configuration that is there has the password that it names."""
    link = os.link

    def interrupted(source: Any, target: str, **more: Any) -> None:
        link(source, target, **more)
        signal.raise_signal(number)

    monkeypatch.setattr(os, "link", interrupted)
    # As fetchd starts; other tests leave theirs, and under nohup one is ignored.
    before = signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    try:
        result = place.init(*ENOUGH[:4], "--yes", "--password-stdin", typed="secret\n")
    finally:
        signal.signal(number, before)
    assert result.exit_code == code
    assert f"Stopped: {place.path} is written" in result.output
    assert isinstance(place.account().password, SecretFile)
    assert place.account().password.path.read_bytes() == b"secret\n"


def test_a_disk_that_may_not_keep_the_configuration_costs_it_no_password(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in its place and names the password's file, which must not go then."""
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if place.path.exists():
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    result = place.init(*ENOUGH[:4], "--yes", "--password-stdin", typed="secret\n")
    assert "written, and the disk may not keep it: Input/output error" in str(result.exception)
    assert place.account().password.path.read_bytes() == b"secret\n"


def test_a_plain_line_is_written_only_with_a_yes_to_what_it_means(place: Place) -> None:
    assert place.init(*ENOUGH, "--tls", "none", "--allow-plaintext-password").exit_code == 0
    account = place.account()
    assert (account.tls.mode, account.port, account.allow_plaintext_password) == (TlsMode.NONE, 110, True)


# ── one more ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_account_is_added_and_the_comments_stay(place: Place) -> None:
    place.path.parent.mkdir()
    one = "  a: {host: h, user: a, password: {env: X}, deliver: {maildir: /m}} # one\n"
    text = f"# mine\naccounts:\n{one}# end\nhttp: 9725\n"
    place.path.write_text(text)
    place.path.chmod(0o640)
    result = place.init("--add", *ENOUGH)
    assert result.exit_code == 0, result.output
    new = place.path.read_text()
    assert [line for line in text.splitlines() if line not in new.splitlines()] == []
    assert (place.account().host, place.account("a").host) == ("pop.example.org", "h")
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o640


def test_two_accounts_of_one_name_get_a_number(place: Place) -> None:
    assert place.init(*ENOUGH).exit_code == 0
    assert place.init("--add", *ENOUGH, "--host", "other.example.org").exit_code == 0
    assert place.account("alice-example-2").host == "other.example.org"
    assert "already" in place.refuses("--add", *ENOUGH, "--name", "alice-example")


def test_a_mailbox_is_not_added_twice(place: Place) -> None:
    assert place.init(*ENOUGH).exit_code == 0
    assert "the account alice-example fetches this mailbox already" in place.refuses("--add", *ENOUGH, "--name", "b")
    assert place.init("--add", *ENOUGH, "--user", "another").exit_code == 0


def test_what_the_loader_would_refuse_is_said_not_to_be_written(place: Place) -> None:
    """The lines that it complains of are nowhere to be seen."""
    place.path.parent.mkdir()
    said = place.refuses(*ENOUGH, "--port", "110", "--tls", "implicit").splitlines()
    assert "accounts.alice-example.port: port 110 begins in the clear" in said[0]
    assert said[1] == f"{place.path}: nothing was written, for that is what would stand in it"


def test_a_file_that_nothing_can_be_put_into_is_refused_before_anything_is_asked(place: Place) -> None:
    place.path.parent.mkdir()
    place.path.write_text("accounts: {a: {host: h, user: a, password: {env: X}, deliver: {maildir: /m}}}\n")
    said = place.refuses("--add")
    assert "its accounts are not written one below the other" in said
    assert "add the account by hand" in said


def test_a_file_with_errors_is_not_added_to(place: Place) -> None:
    place.path.parent.mkdir()
    place.path.write_text("accounts:\n  a: {hots: h}\n")
    assert "fetchd.yaml:2: accounts.a.hots" in place.refuses("--add", *ENOUGH)


# ── what is known, and what the network says ─────────────────────────────────────────────────────────────────────

FULL = ("--address", "alice@example.org", "--password-env", "X", "--yes")


def test_a_known_provider_is_taken_from_the_table_and_nobody_is_asked(place: Place) -> None:
    result = place.init("--address", "alice@gmx.net", "--password-env", "X", "--yes")
    assert result.exit_code == 0, result.output
    account = place.account("alice-gmx")
    gmx = providers.of_domain("gmx.net")
    assert gmx is not None
    assert account.host == gmx.hosts[0]
    assert account.interval >= gmx.least_interval


def test_a_provider_without_pop3_is_said_so_at_once(place: Place) -> None:
    without = next(one for one in providers.PROVIDERS if not one.hosts)
    said = place.refuses("--address", f"a@{without.domains[0]}", "--password-env", "X", "--yes")
    assert said == without.no_pop3


def test_asking_more_often_than_a_provider_allows_is_refused(place: Place) -> None:
    strict = next(one for one in providers.PROVIDERS if one.least_interval > 60 and one.hosts and not one.needs_oauth)
    said = place.refuses("--address", f"a@{strict.domains[0]}", "--password-env", "X", "--yes", "--interval", "1m")
    assert said.startswith(f"--interval: {strict.name} locks out")


def test_a_provider_that_wants_the_local_part_gets_it(place: Place) -> None:
    local = next(one for one in providers.PROVIDERS if one.local_part and one.hosts)
    assert (
        place.init("--address", f"Al.x@{local.domains[0]}", "--password-env", "X", "--yes", "--name", "a").exit_code
        == 0
    )
    assert place.account("a").user == "Al.x"


def test_a_provider_that_takes_oauth_alone_says_so(place: Place) -> None:
    tokens = next(one for one in providers.PROVIDERS if one.needs_oauth)
    assert "--client-id" in place.refuses("--address", f"a@{tokens.domains[0]}", "--yes")


def test_an_oauth_account_names_its_application_and_the_login_comes_next(place: Place) -> None:
    tokens = next(one for one in providers.PROVIDERS if one.needs_oauth)
    result = place.init("--address", f"a@{tokens.domains[0]}", "--client-id", "id-1", "--yes", "--name", "m")
    assert result.exit_code == 0, result.output
    account = place.account("m")
    assert (account.password.provider, account.password.client_id) == (tokens.oauth, "id-1")
    assert f"fetchd -c {place.path} login m" in result.output


def test_what_is_found_and_vouched_for_is_taken(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, found(user="al"), found("other.org"), notes=("a note",))
    result = place.init(*FULL)
    assert result.exit_code == 0, result.output
    assert (place.account().host, place.account().user) == ("pop.example.org", "al")
    assert "(from its website)" in result.output
    assert "note: a note" in result.output
    assert "# From its website." in place.path.read_text()


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (found("pop.evil.example", is_vouched=False), "nobody signed for it: .* give --host pop.evil.example"),
        (found(tls=TlsMode.NONE), "without TLS, which is not taken unseen"),
    ],
)
def test_what_may_be_a_trap_is_never_taken_unseen(
    one: Finding, said: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6186 §6: unsigned DNS can send the password anywhere, with a certificate in order."""
    import re  # noqa: PLC0415

    finds(monkeypatch, one)
    assert re.search(said, place.refuses(*FULL))


def test_a_port_and_a_mode_that_were_said_choose_among_what_is_found(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    finds(monkeypatch, found("a.org"), replace(found("b.org", TlsMode.STARTTLS), port=110))
    assert place.init(*FULL, "--tls", "starttls").exit_code == 0
    assert place.account().host == "b.org"


def test_a_provider_is_known_by_its_server_too() -> None:
    gmx = providers.of_domain("gmx.de")
    assert gmx is not None
    assert locate.provider_of(None, gmx.hosts[0]) == gmx
    assert locate.provider_of(None, "pop.example.org") is None


@pytest.mark.parametrize(
    ("local", "domain", "names", "name"),
    [
        ("Alice", "gmx.net", (), "alice-gmx"),
        ("alice", "gmx.net", ("alice-gmx", "alice-gmx-2"), "alice-gmx-3"),
        ('"j d"', "mail.example.co.uk", (), "j-d-co"),
        ("jürgen", "localhost", (), "j-rgen-localhost"),
        ("例", "192.0.2.1", (), "192.0.2.1"),
        ("x" * 64, "example.org", (), "x" * 60),
    ],
)
def test_a_name_is_made_of_the_address(local: str, domain: str, names: tuple[str, ...], name: str) -> None:
    assert free_name(local, domain, names) == name


def test_every_provider_of_the_table_gives_a_configuration_that_is_accepted(place: Place) -> None:
    def account(one: Provider) -> tuple[str, ...]:
        login = ("--client-id", "x") if one.needs_oauth else ("--password-env", "X")
        return ("--address", f"a@{one.domains[0]}", *login, "--yes", "--name", one.key)

    served = [one for one in providers.PROVIDERS if one.hosts and one.domains]
    for number, one in enumerate(served):
        result = place.init(*(("--add",) if number else ()), *account(one))
        assert result.exit_code == 0, (one.key, result.output, result.exception)
    assert set(load(place.path, environ={"HOME": str(place.home)}).accounts) == {one.key for one in served}


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's mailbox is delivered to by root alone")
def test_root_delivers_with_the_rights_of_whose_the_place_is(place: Place) -> None:
    theirs = place.home / "theirs"
    theirs.mkdir()
    os.chown(theirs, 1, 1)
    result = place.init(*ENOUGH, "--maildir", str(theirs / "Maildir"))
    assert result.exit_code == 0, result.output
    assert place.account().target.owner.uid == 1


@pytest.mark.parametrize(("owner", "is_said"), [(1, True), (65534, False), (0, False)])
@pytest.mark.skipif(os.geteuid() != 0, reason="root alone writes the service's configuration")
def test_a_service_that_cannot_deliver_there_is_said(
    owner: int, is_said: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped unit runs as a user of its own, which may not become another one."""
    monkeypatch.setattr(paths, "_SYSTEM_CONFIG", place.path)
    monkeypatch.setattr(placing, "SERVICE_USER", "nobody")
    theirs = place.home / "theirs"
    theirs.mkdir()
    os.chown(theirs, owner, owner)
    result = place.init(*ENOUGH, "--maildir", str(theirs / "Maildir"))
    assert result.exit_code == 0, result.output
    assert ("The service runs as nobody, and only root can deliver as" in result.output) is is_said


@pytest.mark.parametrize(
    ("uid", "environ", "path"),
    [
        (1000, {"HOME": "/h", "FETCHD_CONFIG": "/x.yaml"}, "/x.yaml"),
        (1000, {"HOME": "/h", "XDG_CONFIG_HOME": "/c"}, "/c/fetchd/fetchd.yaml"),
        (1000, {"HOME": "/h"}, "/h/.config/fetchd/fetchd.yaml"),
        (0, {"HOME": "/h"}, "/etc/fetchd/fetchd.yaml"),
    ],
)
def test_without_a_name_the_file_is_where_fetchd_looks(
    uid: int, environ: dict[str, str], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert str(paths.new_config(environ)) == path


def test_root_adds_to_the_file_of_its_own_where_it_has_one(tmp_path: Path) -> None:
    own = tmp_path / "fetchd" / "fetchd.yaml"
    own.parent.mkdir()
    own.touch()
    assert paths.new_config({"XDG_CONFIG_HOME": str(tmp_path)}) == own


# ── somebody can be asked (here: standard input) ─────────────────────────────────────────────────────────────────


@pytest.fixture
def asked(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(init, "is_terminal", lambda: True)
    return place


REST = "\n\n\n\nn\n"
"""Takes what is proposed for user, target, leaving and interval, and no first try."""


def test_of_several_findings_one_is_chosen_and_each_says_where_it_comes_from(
    asked: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    finds(monkeypatch, found("a.org"), found("b.org", is_vouched=False), notes=("a note",))
    result = asked.init(*FULL[:4], typed=f"2\n{REST}")
    assert result.exit_code == 0, result.output
    assert "  1  a.org, port 995, TLS\n       from its website\n" in result.output
    assert "from its website; not within example.org, and not signed" in result.output
    assert asked.account().host == "b.org"


@pytest.mark.parametrize("wrong", ["0", "4", "x", "", "٢", "99999999999"])
def test_a_number_that_is_none_is_asked_for_again(wrong: str, asked: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, found("a.org"), found("b.org"))
    result = asked.init(*FULL[:4], typed=f"{wrong}\n2\n{REST}" if wrong else f"\n{REST}")
    assert result.exit_code == 0, result.output
    assert asked.account().host == ("b.org" if wrong else "a.org")


def test_where_none_of_them_is_right_another_one_is_typed(asked: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, found("a.org"))
    result = asked.init(*FULL[:4], typed=f"2\nmine.example.org\n110\n{REST}")
    assert result.exit_code == 0, result.output
    account = asked.account()
    assert (account.host, account.port, account.tls.mode) == ("mine.example.org", 110, TlsMode.STARTTLS)


def test_a_finding_in_the_clear_is_named_as_such_and_takes_a_yes(asked: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, replace(found("a.org", TlsMode.NONE), port=110))
    assert "ask your provider" in asked.refuses(*FULL[:4], typed="1\n\n")
    result = asked.init(*FULL[:4], typed=f"1\ny\n{REST}")
    assert result.exit_code == 0, result.output
    assert "NOT PROTECTED" in result.output
    assert asked.account().allow_plaintext_password


def test_a_provider_with_both_offers_oauth_and_asks_for_its_secret(
    asked: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google's applications have a secret; it goes into a file of its own, like a password."""
    gmail = providers.of_domain("gmail.com")
    assert gmail is not None
    assert gmail.oauth == "google"
    monkeypatch.setattr("getpass.getpass", lambda _: "s3cret")
    result = asked.init("--address", "alice@gmail.com", typed="\ny\nid-1\n\n\n\nn\n")
    assert result.exit_code == 0, result.output
    account = asked.account("alice-gmail")
    secret = asked.path.parent / "secrets" / "alice-gmail.client"
    assert (account.password.client_id, account.password.client_secret) == ("id-1", SecretFile(secret))
    assert secret.read_bytes() == b"s3cret\n"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_provider_that_wants_an_app_password_says_where_to_get_one(
    asked: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getpass", lambda _: "abcd efgh")
    result = asked.init("--address", "alice@gmail.com", typed="\nn\n\n\n\nn\n")
    assert result.exit_code == 0, result.output
    assert "myaccount.google.com/apppasswords" in result.output
    assert asked.account("alice-gmail").interval == 600


def test_a_terminal_that_would_show_the_password_gets_none(asked: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def shows(_: str) -> str:
        warnings.warn("Can not control echo on the terminal.", getpass.GetPassWarning, stacklevel=2)
        return "hunter2"

    monkeypatch.setattr("getpass.getpass", shows)
    said = asked.refuses("--address", "a@example.org", "--host", "h.org", typed="\n")
    assert said == "this terminal would show the password: give --password-file FILE"
