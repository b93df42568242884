"""From a file to settings: typical mistakes and the lines they give, defaults, cross-checks, warnings."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fetchd.config import loader as loader_module
from fetchd.config.loader import examine, load
from fetchd.errors import ConfigError
from fetchd.model import (
    Account,
    FirstPoll,
    HttpAddress,
    LogSettings,
    MaildirTarget,
    MboxTarget,
    Policy,
    Proxy,
    ProxyKind,
    Secret,
    SecretCommand,
    SecretCredential,
    SecretEnv,
    SecretFile,
    SecretKeyring,
    SecretValue,
    Settings,
    Tls,
    TlsMode,
    UniqueIdsChanged,
)
from tests.config.mistakes import GOOD, MISTAKES, SECRET, good

ENVIRON: Mapping[str, str] = {"HOME": "/home/fetchd", "STATE_DIRECTORY": "/var/lib/fetchd", "PATH": "/usr/bin:/bin"}
EXAMPLES = Path(__file__).parents[2] / "config"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes f.yaml where we are, so that messages begin with ``f.yaml:``."""
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes, mode: int = 0o600) -> Path:
        path = Path("f.yaml")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def problems(path: Path, environ: Mapping[str, str] = ENVIRON) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(path, environ=environ)
    assert str(refused.value) == "\n".join(refused.value.problems)
    return [line.removeprefix("f.yaml:") for line in refused.value.problems]


def test_a_minimal_file_gets_the_safe_defaults(write: Callable[..., Path]) -> None:
    path = write(GOOD)
    assert load(path, environ={**ENVIRON, "ALICE": "x"}) == Settings(
        source=path,
        accounts={
            "alice": Account(
                "alice",
                "pop.gmx.net",
                port=995,
                tls=Tls(TlsMode.IMPLICIT),
                user="alice@gmx.net",
                password=SecretEnv("ALICE"),
                target=MaildirTarget(Path("/home/alice/Maildir")),
                policy=Policy(delete_after=None, first_poll=FirstPoll.ALL, unique_ids_changed=UniqueIdsChanged.STOP),
                interval=300.0,
                timeout=60.0,
                session_timeout=3600.0,
                allow_plaintext_password=False,
            )
        },
        state=Path("/var/lib/fetchd/fetchd.db"),
        http=None,
        log=LogSettings("auto", "info"),
        workers=64,
        sessions_per_host=4,
        warnings=(),
    )


def test_every_key_arrives_where_it_belongs(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(f"""\
state: state.db
http: "[::1]:9725"
log: {{format: json, level: debug}}
workers: 3
sessions_per_host: 2
accounts:
  a:
    host: pop.example.org
    port: 1995
    tls:
      mode: starttls
      ca_file: ca.pem
      fingerprint: "{":".join(["AB"] * 32)}"
      client_cert: ~/cert.pem
      client_key: /key.pem
      server_name: other.example.org
    user: a
    password: {{command: pass show 'mail a'}}
    deliver: {{mbox: ../mail, create_parents: true}}
    leave_on_server: 14d
    first_poll: skip
    unique_ids_changed: fetch
    max_size: 50MB
    max_messages: 1000
    interval: 1h
    timeout: 30s
    session_timeout: 10m
    allow_plaintext_password: true
    login_timeout: 45s
    minimum_rate: 1KB
    mechanism: scram-sha-256
    source_address: 192.0.2.10
    proxy: socks5h://u:p%40ss@proxy.example:1080
""")
    settings = load(path, environ=ENVIRON)
    assert settings.state == tmp_path / "state.db"
    assert settings.http == HttpAddress("::1", 9725)
    assert settings.log == LogSettings("json", "debug")
    assert (settings.workers, settings.sessions_per_host) == (3, 2)
    assert settings.accounts["a"] == Account(
        "a",
        "pop.example.org",
        port=1995,
        tls=Tls(
            TlsMode.STARTTLS,
            ca_file=tmp_path / "ca.pem",
            fingerprint=b"\xab" * 32,
            client_cert=Path("/home/fetchd/cert.pem"),
            client_key=Path("/key.pem"),
            server_name="other.example.org",
        ),
        user="a",
        password=SecretCommand(("pass", "show", "mail a")),
        target=MboxTarget(tmp_path / "../mail", create_parents=True),
        policy=Policy(
            delete_after=14 * 86400,
            first_poll=FirstPoll.SKIP,
            unique_ids_changed=UniqueIdsChanged.FETCH,
            max_size=50_000_000,
            max_messages=1000,
        ),
        interval=3600.0,
        timeout=30.0,
        session_timeout=600.0,
        allow_plaintext_password=True,
        login_timeout=45.0,
        minimum_rate=1000,
        mechanism="SCRAM-SHA-256",
        source_address="192.0.2.10",
        proxy=Proxy(ProxyKind.SOCKS5, "proxy.example", 1080, user="u", password=Secret(b"p@ss")),
    )


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_that_we_ship_loads(path: Path) -> None:
    if "compose" in path.name or not path.read_text().lstrip("#").strip() or "accounts:" not in path.read_text():
        pytest.skip("not a configuration of fetchd")
    assert load(path, environ=ENVIRON).accounts


def test_the_examples_are_there() -> None:
    assert {"fetchd.yaml", "minimal.yaml"} <= {path.name for path in EXAMPLES.glob("*.yaml")}
    assert len((EXAMPLES / "minimal.yaml").read_text().splitlines()) <= 10


@pytest.mark.parametrize(("text", "lines"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_a_typical_mistake_gives_its_line_and_no_other(text: str, lines: list[str], write: Callable[..., Path]) -> None:
    assert problems(write(text)) == lines


def test_all_problems_come_at_once_in_the_order_of_the_file(write: Callable[..., Path]) -> None:
    text = """\
workers: 0
accounts:
  a:
    port: x
    hots: y
    user: 0123
    user: b
    deliver: {maildir: /a, mbox: /b}
  b:
    tls: none
    host: h.example
    password: {envv: X}
log: {level: loud}
"""
    assert [line.partition(" ")[0] for line in problems(write(text))] == [
        "1:",
        "3:",
        "4:",
        "5:",
        "6:",
        "7:",
        "8:",
        "9:",
        "10:",
        "12:",
        "13:",
    ]


def test_a_fault_in_the_defaults_is_told_once_and_at_its_own_line(write: Callable[..., Path]) -> None:
    text = "defaults:\n  interval: 5\n  tls: {mode: x}\n  hots: y\naccounts:\n"
    for name in "abc":
        text += f"  {name}: {{user: u, password: {{env: P}}, deliver: {{maildir: m}}}}\n"
    assert problems(write(text)) == [
        "2: defaults.interval: 5 has no unit: write 5s where seconds are meant",
        '3: defaults.tls.mode: "x" is not one of implicit, starttls or none',
        '4: defaults.hots: unknown key; did you mean "host"?',
    ]


def test_a_fault_reached_by_an_alias_is_told_once(write: Callable[..., Path]) -> None:
    text = good("  alice:", "  alice: &a", after="interval: 5") + "  bob:\n    <<: *a\n    user: bob\n"
    assert problems(write(text)) == ["7: accounts.alice.interval: 5 has no unit: write 5s where seconds are meant"]


def test_a_fault_in_one_account_does_not_hide_what_another_lacks(write: Callable[..., Path]) -> None:
    text = good(after="interval: 5") + "  bob: {host: b.example, tls: none, user: b, deliver: {mbox: m}}\n"
    assert [line.partition(" ")[0] for line in problems(write(text))] == ["7:", "8:", "8:"]


def test_an_account_replaces_a_default_as_a_whole_and_inherits_the_rest(write: Callable[..., Path]) -> None:
    text = """\
defaults:
  host: pop.example.org
  tls: {mode: starttls, ca_file: /ca.pem}
  password: {env: P}
  max_size: 1MB
  max_messages: 10
  leave_on_server: false
  deliver: {maildir: /m}
accounts:
  a: {user: a}
  b: {user: b, tls: implicit, password: {file: /p}, max_size: none, max_messages: none, leave_on_server: true}
"""
    accounts = load(write(text), environ=ENVIRON).accounts
    a, b = accounts["a"], accounts["b"]
    assert (a.host, a.port, a.tls) == ("pop.example.org", 110, Tls(TlsMode.STARTTLS, ca_file=Path("/ca.pem")))
    assert (a.password, a.policy.max_size, a.policy.max_messages) == (SecretEnv("P"), 1_000_000, 10)
    assert a.policy.delete_after == 0
    assert (b.host, b.port, b.tls) == ("pop.example.org", 995, Tls(TlsMode.IMPLICIT))
    assert (b.password, b.policy.max_size, b.policy.max_messages) == (SecretFile(Path("/p")), None, None)
    assert b.policy.delete_after is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("true", None), ("false", 0), ("no", 0), ("14d", 1209600), ("0", 0), ("0d", 0)],
)
def test_leave_on_server_is_the_age_of_deletion(value: str, seconds: int | None, write: Callable[..., Path]) -> None:
    settings = load(write(good(after=f"leave_on_server: {value}")), environ=ENVIRON)
    assert settings.accounts["alice"].policy.delete_after == seconds


def test_a_default_can_be_undone(write: Callable[..., Path]) -> None:
    text = "defaults: {proxy: 'http://p.example:1', source_address: '::1', minimum_rate: 5, mechanism: plain}\n"
    text += good(after="proxy: none\n    source_address: none\n    minimum_rate: none\n    mechanism: auto")
    account = load(write(text), environ=ENVIRON).accounts["alice"]
    assert (account.proxy, account.source_address, account.minimum_rate, account.mechanism) == (None, None, 0, "")


@pytest.mark.parametrize(
    ("written", "source"),
    [
        ("{env: P}", SecretEnv("P")),
        ('"hunter2"', SecretValue(Secret(b"hunter2"))),
        ("{keyring: proxy}", SecretKeyring("proxy", "a b")),
    ],
)
def test_a_proxys_password_may_stand_beside_its_url(written: str, source: object, write: Callable[..., Path]) -> None:
    text = good(after=f"proxy: {{url: 'socks5://a%20b@proxy.example:1080', password: {written}}}")
    account = load(write(text), environ=ENVIRON).accounts["alice"]
    assert account.proxy == Proxy(ProxyKind.SOCKS5, "proxy.example", 1080, user="a b")
    assert account.proxy_password == source


@pytest.mark.parametrize(
    ("mechanism", "is_fine"),
    [("CRAM-MD5", True), ("apop", True), ("SCRAM-SHA-256", True), ("PLAIN", False), ("USER", False), ("auto", False)],
)
def test_a_way_to_log_in_that_never_sends_the_password_may_use_a_plain_line(
    mechanism: str, is_fine: bool, write: Callable[..., Path]
) -> None:
    found = examine(write(good(after=f"tls: none\n    mechanism: {mechanism}")), environ=ENVIRON)
    assert (found.settings is not None) is is_fine
    assert ["over a plain line" in line for line in found.problems] == ([] if is_fine else [True])


@pytest.mark.parametrize("tls", ["none", "{server_name: pop.gmx.net}", f"{{fingerprint: '{'5e' * 32}'}}"])
def test_a_unix_socket_is_this_host(tls: str, write: Callable[..., Path]) -> None:
    text = good("pop.gmx.net", "unix:/run/pop3.sock", after=f"tls: {tls}")
    assert load(write(text), environ=ENVIRON).accounts["alice"].host == "unix:/run/pop3.sock"


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("pop.example.org.", "pop.example.org."),
        ("my_host", "my_host"),
        ("münchen.example", "münchen.example"),
        ("192.0.2.1", "192.0.2.1"),
        ('"2001:DB8::1"', "2001:db8::1"),
        ('"[2001:db8::1]"', "2001:db8::1"),
        ('"fe80::1%eth0"', "fe80::1%eth0"),
    ],
)
def test_a_host_is_a_name_or_an_address(written: str, host: str, write: Callable[..., Path]) -> None:
    assert load(write(good("pop.gmx.net", written)), environ=ENVIRON).accounts["alice"].host == host


@pytest.mark.parametrize(
    "host", ["ü" * 70 + ".example", "a" * 64 + ".example", "a." * 127 + "bc", "1.2.3", "a b", "a/b", "-.-/"]
)
def test_a_host_that_no_resolver_takes_is_refused(host: str, write: Callable[..., Path]) -> None:
    """A label of more than 63 octets raises a UnicodeError in socket.getaddrinfo, not an OSError."""
    assert problems(write(good("pop.gmx.net", host)))[0].endswith(" is not a host name or an IP address")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "pop.localhost", "127.0.0.1", "127.1.2.3", '"::1"'])
def test_a_plain_line_to_this_host_needs_no_leave(host: str, write: Callable[..., Path]) -> None:
    settings = load(write(good("pop.gmx.net", host, after="tls: none")), environ=ENVIRON)
    assert settings.accounts["alice"].port == 110


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost.example.com", "notlocalhost", "128.0.0.1", '"::2"', "0.0.0.0"])
def test_a_plain_line_to_any_other_host_is_refused_unless_told_otherwise(host: str, write: Callable[..., Path]) -> None:
    text = good("pop.gmx.net", host, after="tls: none")
    assert "over a plain line" in problems(write(text))[0]
    text += "    allow_plaintext_password: true\n"
    assert load(write(text), environ=ENVIRON).accounts["alice"].allow_plaintext_password


def test_a_tunnel_on_this_host_may_use_any_port(write: Callable[..., Path]) -> None:
    text = good("pop.gmx.net", "localhost", after="port: 995\n    tls: none")
    assert load(write(text), environ=ENVIRON).accounts["alice"].port == 995


@pytest.mark.parametrize(
    ("short", "expected"),
    [("debug", LogSettings("auto", "debug")), ("json", LogSettings("json", "info")), ("{}", LogSettings())],
)
def test_log_has_a_short_form(short: str, expected: LogSettings, write: Callable[..., Path]) -> None:
    assert load(write(good(before=f"log: {short}\n")), environ=ENVIRON).log == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("127.0.0.1:9725", HttpAddress("127.0.0.1", 9725)),
        ("9725", HttpAddress("127.0.0.1", 9725)),
        ('"9725"', HttpAddress("127.0.0.1", 9725)),
        ("0.0.0.0:80", HttpAddress("0.0.0.0", 80)),
        ('"[::]:9725"', HttpAddress("::", 9725)),
        ("metrics.example.org:1", HttpAddress("metrics.example.org", 1)),
        ("off", None),
    ],
)
def test_http_is_an_address_or_a_port(written: str, expected: HttpAddress | None, write: Callable[..., Path]) -> None:
    assert load(write(good(before=f"http: {written}\n")), environ=ENVIRON).http == expected


def test_state_may_name_a_directory(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for written in ("there", "there/", str(tmp_path / "there")):
        assert load(write(good(before=f"state: {written}\n")), environ=ENVIRON).state == tmp_path / "there/fetchd.db"
    assert load(write(good(before="state: new/\n")), environ=ENVIRON).state == tmp_path / "new/fetchd.db"
    assert load(write(good(before="state: new\n")), environ=ENVIRON).state == tmp_path / "new"
    (tmp_path / "given").mkdir()
    settings = load(write(GOOD), environ={"STATE_DIRECTORY": str(tmp_path / "given")})
    assert settings.state == tmp_path / "given/fetchd.db"


def test_relative_paths_start_at_the_file_wherever_fetchd_was_started(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(good("/home/alice/", ""))
    monkeypatch.chdir("/")
    settings = load(tmp_path / "f.yaml", environ=ENVIRON)
    assert settings.accounts["alice"].target == MaildirTarget(tmp_path / "Maildir")


def test_a_home_that_nobody_knows_is_said_at_the_path(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may run under a user id that no password database knows."""
    monkeypatch.setattr("os.geteuid", lambda: 4_000_000)
    path = write(good("/home/alice/", "~/"))
    assert problems(path, {"STATE_DIRECTORY": "/s"}) == [
        "6: accounts.alice.deliver.maildir: ~/ cannot be expanded: HOME is not set; write the path out"
    ]
    assert problems(write(GOOD), {}) == [
        '1: nowhere to keep the state: HOME is not set; give "state: /some/where/fetchd.db"'
    ]


@pytest.mark.parametrize(
    ("written", "source"),
    [
        ("{file: secret}", "file"),
        ("{env: ALICE}", SecretEnv("ALICE")),
        ("{command: [a, 'b c']}", SecretCommand(("a", "b c"))),
        ("{credential: gmx}", SecretCredential("gmx")),
        ("{keyring: gmx}", SecretKeyring("gmx", "alice@gmx.net")),
        ("{keyring: {service: gmx, user: bob}}", SecretKeyring("gmx", "bob")),
        ('"hunter2"', SecretValue(Secret(b"hunter2"))),
        ("grün geheim", SecretValue(Secret("grün geheim".encode()))),
        ('" leading and trailing "', SecretValue(Secret(b" leading and trailing "))),
    ],
)
def test_a_password_has_six_sources(written: str, source: object, write: Callable[..., Path], tmp_path: Path) -> None:
    settings = load(write(good(SECRET, written)), environ=ENVIRON)
    expected = SecretFile(tmp_path / "secret") if source == "file" else source
    assert settings.accounts["alice"].password == expected


# ── warnings ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_maildrop_twice_is_a_warning(write: Callable[..., Path]) -> None:
    text = GOOD + (
        "  bob:\n    host: POP.gmx.net.\n    port: 995\n    user: alice@gmx.net\n"
        "    password: {env: A}\n    deliver: {mbox: b}\n"
        "  carol: {host: pop.gmx.net, user: carol, password: {env: A}, deliver: {mbox: b}}\n"
    )
    settings = load(write(text), environ={**ENVIRON, "ALICE": "x", "A": "x"})
    assert settings.warnings == (
        'f.yaml:7: accounts.bob: the same host, port and user as "alice" (line 2): its mail comes twice',
    )


def test_a_short_interval_is_a_warning_told_once(write: Callable[..., Path]) -> None:
    text = (
        "defaults: {interval: 59s}\n"
        + GOOD
        + "  bob: {host: b.example, user: b, password: {env: ALICE}, deliver: {mbox: b}}\n"
    )
    settings = load(write(text), environ={**ENVIRON, "ALICE": "x"})
    assert settings.warnings == (
        "f.yaml:1: defaults.interval: polling every 59s gets clients locked out at many providers; 5m is usual",
    )
    assert load(write(text.replace("59s", "60s")), environ={**ENVIRON, "ALICE": "x"}).warnings == ()


def test_examine_shows_problems_and_warnings_side_by_side(write: Callable[..., Path]) -> None:
    found = examine(write(good(after="interval: 2s\n    prot: 1")), environ={**ENVIRON, "ALICE": "x"})
    assert found.settings is None
    assert found.problems == ('f.yaml:8: accounts.alice.prot: unknown key; did you mean "port"?',)
    assert [warning.partition(" polling")[0] for warning in found.warnings] == ["f.yaml:7: accounts.alice.interval:"]


# ── the file itself ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "none.yaml", environ=ENVIRON)
    assert refused.value.problems == (f"{tmp_path}/none.yaml: No such file or directory",)
    assert isinstance(refused.value.__cause__, FileNotFoundError)


def test_a_directory_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, environ=ENVIRON)
    assert refused.value.problems == (f"{tmp_path}: Is a directory",)


def test_a_file_that_is_not_utf_8_says_where_and_keeps_its_octets_to_itself(write: Callable[..., Path]) -> None:
    path = write(good("alice@gmx.net", "grün").encode("latin-1"))
    with pytest.raises(ConfigError) as refused:
        load(path, environ=ENVIRON)
    assert refused.value.problems == ("f.yaml:4: this is not UTF-8 text: save the file as UTF-8",)
    assert refused.value.__context__ is None


def test_a_huge_file_is_refused(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "LIMIT_OCTETS", 2**20)
    with pytest.raises(ConfigError) as refused:
        load(write("#" * 2**20 + "\n"), environ=ENVIRON)
    assert refused.value.problems == ("f.yaml: larger than 1 MiB: this is no configuration",)


def test_a_byte_order_mark_and_crlf_do_no_harm(write: Callable[..., Path]) -> None:
    text = "\ufeff" + GOOD.replace("\n", "\r\n")
    assert load(write(text), environ=ENVIRON).accounts["alice"].user == "alice@gmx.net"


def test_a_loaded_configuration_is_a_value(write: Callable[..., Path]) -> None:
    """The daemon compares old and new settings on reload."""
    path = write(good(SECRET, "hunter2"))
    assert load(path, environ=ENVIRON) == load(path, environ=ENVIRON)
    assert load(path, environ=ENVIRON) != load(write(good(SECRET, "hunter3")), environ=ENVIRON)
