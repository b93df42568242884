"""fetchd.config.writing: a new file, and one more account in a file that somebody wrote."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fetchd.config import load
from fetchd.config.writing import NewAccount, new_file, with_account, written
from fetchd.errors import UsageError
from fetchd.model import TlsMode

SOURCE = Path("fetchd.yaml")
NEW = NewAccount(
    "bob",
    "pop.example.org",
    995,
    TlsMode.IMPLICIT,
    "bob@example.org",
    ("password", {"file": "secrets/bob"}),
    {"maildir": "/tmp/Maildir", "owner": "", "create_parents": False},
)
ALICE = """\
  alice:   # mine
      host: pop.gmx.net
      user: alice
      password: "x y"   # a secret
      deliver: {maildir: /m}
"""
FILES = {
    "one account": f"accounts:\n{ALICE}",
    "no line end": f"accounts:\n{ALICE}".rstrip("\n"),
    "comments and keys around": "# top\nlog: debug\n\naccounts:\n  # family\n"
    f"{ALICE}\n  # bob was here\n\n# other things\nhttp: 9725  # page\n",
    "accounts first": f"accounts:\n{ALICE}http: 9725\n",
    "CRLF": f"# top\naccounts:\n{ALICE}\nhttp: 9725\n".replace("\n", "\r\n"),
    "a mark": f"\ufeffaccounts:\n{ALICE}",
    "a document's end": f"---\naccounts:\n{ALICE}...\n# after\n",
    "one-line accounts": "accounts:\n    alice: {host: h.org, user: a, password: {env: X}, deliver: {maildir: /m}}\n",
    "an anchor": f"accounts:\n  base: &b {{host: h, user: z, password: p, deliver: {{mbox: /z}}}}\n{ALICE}  carl: *b\n",
    "odd line ends": f"# a\x85# b\u2028accounts:\n{ALICE}http: 9725\n",
    "quoted keys": '"accounts":\n "alice": {host: h.org, user: a, password: p, deliver: {mbox: /m}}\n',
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_an_account_goes_in_and_every_octet_that_was_there_stays(text: str) -> None:
    """Comments, layout, line ends: what is taken out of the result again is the file as it was."""
    result = with_account(text, NEW, SOURCE)
    before, after = yaml.safe_load(text), yaml.safe_load(result)
    assert after["accounts"].pop("bob")["host"] == "pop.example.org"
    assert after == before
    start = next(at for at in range(len(result)) if not text.startswith(result[: at + 1]))
    tail = text[start:]
    assert result.endswith(tail)
    added = result[start : len(result) - len(tail)]
    assert text == text[:start] + tail
    assert "alice" not in added
    assert ("\r\n" in added) == ("\r\n" in text)


def test_the_layout_is_taken_over() -> None:
    result = with_account(FILES["comments and keys around"], NEW, SOURCE)
    assert "  # bob was here\n\n  bob:\n      # The line is TLS" in result
    assert "    interval: 5m\n\n# other things\nhttp: 9725  # page\n" in result


@pytest.mark.parametrize(
    "text",
    [
        "accounts: {alice: {host: h, user: a, password: p, deliver: {maildir: /m}}}\n",
        "accounts:\n  {alice: {host: h, user: a, password: p, deliver: {maildir: /m}}}\n",
        "accounts: {}\n",
        "{accounts: {alice: {host: h, user: a, password: p, deliver: {maildir: /m}}}}\n",
        "accounts:\n  bob: {host: h, user: a, password: p, deliver: {maildir: /m}}\n",
    ],
)
def test_where_no_account_can_be_put_in_its_lines_are_said(text: str) -> None:
    with pytest.raises(UsageError, match="add this one by hand") as caught:
        with_account(text, NEW, SOURCE)
    said = str(caught.value).partition("\n")[2]
    assert yaml.safe_load(said)["bob"]["user"] == "bob@example.org"


@given(st.lists(st.sampled_from([ALICE, "  # note\n", "\n", "# left\n", "      # deep\n"]), max_size=8), st.booleans())
def test_wherever_comments_and_blank_lines_stand_nothing_else_changes(parts: list[str], more: bool) -> None:
    accounts = [part.replace("alice:", f"a{number}:") for number, part in enumerate([ALICE, *parts])]
    text = "accounts:\n" + "".join(accounts) + ("log: debug\n" if more else "")
    before, after = yaml.safe_load(text), yaml.safe_load(with_account(text, NEW, SOURCE))
    assert after["accounts"].pop("bob")
    assert after == before


@given(st.text(max_size=40))
def test_any_text_is_written_so_that_it_is_read_as_it_was(text: str) -> None:
    for value in (text, {"file": text, "x": True}):
        try:
            line = written(value)
        except yaml.YAMLError:  # lone surrogates
            continue
        assert "\n" not in line
        assert yaml.safe_load(f"[{line}, {{a: {line}}}]") == [value, {"a": value}]


@pytest.mark.parametrize("user", ["alice", "no", "0123", "a: b", "#x", "'", '"q" z', "jürgen@bücher.de", "a,b", "*x"])
@pytest.mark.parametrize("tls", list(TlsMode))
def test_a_new_file_is_accepted_and_means_what_was_meant(user: str, tls: TlsMode, tmp_path: Path) -> None:
    account = NewAccount(
        "a-1",
        "pop.example.org",
        1995,
        tls,
        user,
        ("password", {"env": "X"}),
        {"mbox": "/m, n", "create_parents": True},
        leave_on_server="14d",
        interval=600,
        allow_plaintext_password=True,
        source="a friend",
    )
    path = tmp_path / "fetchd.yaml"
    path.write_text(new_file(account, state=Path("/var/lib/x: y/fetchd.db")))
    settings = load(path, environ={})
    (read,) = settings.accounts.values()
    assert (read.name, read.host, read.port, read.tls.mode, read.user) == ("a-1", "pop.example.org", 1995, tls, user)
    assert (str(read.target.path), read.target.create_parents) == ("/m, n", True)
    assert (read.policy.delete_after, read.interval) == (14 * 86400, 600)
    assert settings.state == Path("/var/lib/x: y/fetchd.db")
