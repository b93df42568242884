"""Typical mistakes in a configuration, each with the lines that it gives: for the loader, and for `fetchd check`."""

GOOD = """\
accounts:
  alice:
    host: pop.gmx.net
    user: alice@gmx.net
    password: {env: ALICE}
    deliver: {maildir: /home/alice/Maildir}
"""


def good(old: str = "", new: str = "", *, before: str = "", after: str = "") -> str:
    """Returns the good file with one text replaced, a line before it, or a line more in its account."""
    assert old in GOOD
    return before + GOOD.replace(old, new) + (f"    {after}\n" if after else "")


PLAIN_LINE = (
    "the password would go to pop.gmx.net over a plain line: write tls: implicit or tls: starttls, or, where everyone "
    "on the way may read it, allow_plaintext_password: true"
)
NAMELESS = "a Unix socket has no name to verify a certificate for: write tls: none, or give tls a server_name"
DURATION = "write a whole number and a unit, as in 30s, 5m, 2h, 14d or 1w"
ONE_ACCOUNT = "alice-gmx: {host: pop.gmx.net, user: alice@gmx.net, password: {…}, deliver: {…}}"
NAMES = "a name is 1 to 64 of the characters A-Z a-z 0-9 . _ @ + - and begins with a letter or a digit"
KEPT_LOG = "fetchd logs to standard error, for systemd or a redirection to keep"
SECRET = "{env: ALICE}"
MAILDIR = "{maildir: /home/alice/Maildir}"

MISTAKES: list[tuple[str, str, list[str]]] = [
    # YAML itself: more of these in test_document.py
    ("a tab", good("    user", "\tuser"), ["4: a tab in the indentation: YAML wants spaces"]),
    ("a lost colon", good("user: alice", "user alice"), ['4: this line should read "key: value"']),
    (
        "an @ without quotes",
        good("alice@gmx.net", "@alice"),
        ["4: a value cannot begin with @, % or `: put it in quotes"],
    ),
    (
        "a line too deep",
        good("    user", "      user"),
        ["4: this line is indented deeper than the one above allows: line it up with its neighbours"],
    ),
    ("an empty file", "", ['1: the file is empty: it needs at least an "accounts:" section']),
    ("a list", "- a\n", ["1: a mapping of keys is expected, as in accounts: {…}"]),
    # indentation that is YAML, but another document
    (
        "keys beside their account",
        GOOD.replace("\n    ", "\n  "),
        ["2: accounts.alice: has no keys: indent them below its name"],
    ),
    (
        "accounts beside accounts",
        GOOD.replace("\n    ", "\n  ").replace("\n  alice", "\nalice"),
        ['1: accounts: is empty: indent the names of the accounts below it ("alice" stands beside it)'],
    ),
    (
        "one key beside its account",
        GOOD + "  interval: 5m\n",
        ["7: accounts.interval: this is a key of an account: indent it below the account's name"],
    ),
    (
        "one section beside its account",
        GOOD.replace(f"    deliver: {MAILDIR}\n", f"  deliver:\n    {MAILDIR[1:-1]}\n"),
        ["6: accounts.deliver: this is a key of an account: indent it below the account's name"],
    ),
    # names and keys
    ("a key twice", good(after="user: bob"), ["7: accounts.alice.user: given twice, first on line 4"]),
    ("an account twice", GOOD + GOOD.partition("\n")[2], ["7: accounts.alice: given twice, first on line 2"]),
    (
        "a misspelt key",
        good(after="intervall: 5m"),
        ['7: accounts.alice.intervall: unknown key; did you mean "interval"?'],
    ),
    (
        "a key without its colon",
        "accounts:\n  a: {user alice, host: x.y, password: {env: A}, deliver: {mbox: m}}\n",
        ['2: accounts.a.…: a ": " is missing after "user"'],
    ),
    (
        "a key without the space after its colon",
        "accounts:\n  a: {user:alice, host: x.y, password: {env:A}, deliver: {mbox: m}}\n",
        [
            '2: accounts.a.…: a ": " is missing after "user"',
            '2: accounts.a.password: a ": " is missing after "env"',
        ],
    ),
    (
        "a key that swallowed its value",
        "accounts:\n  a: {userr, host: x.y, password: {env: A}, deliver: {mbox: m}}\n",
        ['2: accounts.a.…: unknown key; did you mean "user"?'],
    ),
    ("a nonsense key", good(after="zzz: 1"), ["7: accounts.alice.zzz: unknown key"]),
    ("username", good("user", "username"), ['4: accounts.alice.username: unknown key; did you mean "user"?']),
    ("server", good("host", "server"), ['3: accounts.alice.server: unknown key; did you mean "host"?']),
    (
        "a misspelt password",
        good("password", "pasword"),
        ['5: accounts.alice.pasword: unknown key; did you mean "password"?'],
    ),
    ("ssl", good(after="ssl: true"), ['7: accounts.alice.ssl: unknown key; did you mean "tls: implicit"?']),
    *(
        (f"{name}, as {program} calls it", good(after=f"{name}: x"), [f"7: accounts.alice.{name}: unknown key{said}"])
        for program, name, said in [
            ("fetchmail", "keep", '; did you mean "leave_on_server: true"?'),
            ("fetchmail", "protocol", ": fetchd speaks POP3 and nothing else: remove this line"),
            ("fetchmail", "mda", '; did you mean "deliver: {maildir: …}"?'),
            ("fetchmail", "sslcertck", ": fetchd verifies certificates always: remove this line"),
            ("fetchmail", "sslfingerprint", '; did you mean "tls: {fingerprint: …}"?'),
            ("fetchmail", "pass", '; did you mean "password"?'),
            ("getmail", "read_all", '; did you mean "first_poll"?'),
            ("getmail", "max_message_size", '; did you mean "max_size"?'),
            ("getmail", "message_log", f": {KEPT_LOG}: remove this line"),
            ("mpop", "passwordeval", '; did you mean "password: {command: …}"?'),
            ("mpop", "tls_starttls", '; did you mean "tls: starttls"?'),
            ("mpop", "killsize", '; did you mean "max_size"?'),
        ]
    ),
    (
        "protocol at the top",
        good(before="protocol: pop3\n"),
        ["1: protocol: unknown key: fetchd speaks POP3 and nothing else: remove this line"],
    ),
    (
        "delete_after",
        good(after="delete_after: 3d"),
        ['7: accounts.alice.delete_after: unknown key; did you mean "leave_on_server: 14d"?'],
    ),
    (
        "maildir in the account",
        good("deliver: {maildir: /home/alice/Maildir}", "maildir: /home/alice/Maildir"),
        ['6: accounts.alice.maildir: unknown key; it belongs under "deliver"'],
    ),
    (
        "ca_file in the account",
        good(after="ca_file: /x"),
        ['7: accounts.alice.ca_file: unknown key; it belongs under "tls"'],
    ),
    (
        "workers in the account",
        good(after="workers: 3"),
        ["7: accounts.alice.workers: unknown key; it belongs at the top level of the file"],
    ),
    (
        "port in tls",
        good(after="tls: {mode: starttls, port: 110}"),
        ["7: accounts.alice.tls.port: unknown key; it belongs one level up, beside tls and deliver"],
    ),
    (
        "interval at the top",
        good(before="interval: 5m\n"),
        ["1: interval: unknown key; it belongs into an account or into defaults"],
    ),
    ("level at the top", good(before="level: debug\n"), ['1: level: unknown key; it belongs under "log"']),
    ("a misspelt section", good("accounts", "acounts"), ['1: acounts: unknown key; did you mean "accounts"?']),
    ("a name with a space", good("alice:", "al ice:"), [f"2: accounts.al…: {NAMES}"]),
    ("a name with a slash", good("alice:", "../alice:"), [f"2: accounts.../alice: {NAMES}"]),
    ("a name too long", good("alice:", "a" * 65 + ":"), [f"2: accounts.{'a' * 60}…: {NAMES}"]),
    # accounts
    ("no accounts", "workers: 3\n", [f'1: no account is configured; below "accounts:", indented: {ONE_ACCOUNT}']),
    (
        "empty accounts",
        "accounts:\n",
        [f'1: accounts: no account is configured; below "accounts:", indented: {ONE_ACCOUNT}'],
    ),
    (
        "a list of accounts",
        "accounts:\n- host: x\n",
        [f"1: accounts: names are expected below it, not a list or a text: {ONE_ACCOUNT}"],
    ),
    (
        "a host for an account",
        "accounts:\n  a: pop.gmx.net\n",
        [f"2: accounts.a: a mapping is expected, as in {ONE_ACCOUNT}"],
    ),
    ("nothing but a host", "accounts:\n  a: {host: x.y}\n", ["2: accounts.a: user, password and deliver are missing"]),
    ("no host", good("    host: pop.gmx.net\n", ""), ["2: accounts.alice: host is missing"]),
    # YAML's traps
    (
        "user: no",
        good("alice@gmx.net", "no"),
        ["4: accounts.alice.user: YAML reads this word as true or false, not as text: put it in quotes"],
    ),
    (
        "user: 12345",
        good("alice@gmx.net", "12345"),
        ["4: accounts.alice.user: YAML reads this as a number, not as text: put it in quotes"],
    ),
    (
        "user: 1.5",
        good("alice@gmx.net", "1.5"),
        ["4: accounts.alice.user: YAML reads this as a number, not as text: put it in quotes"],
    ),
    (
        "password: 12345",
        good(SECRET, "12345"),
        ["5: accounts.alice.password: YAML reads this as a number, not as text: put it in quotes"],
    ),
    (
        "password: 0123",
        good(SECRET, "0123"),
        ["5: accounts.alice.password: YAML reads this as another number than stands here: put it in quotes"],
    ),
    (
        "password: yes",
        good(SECRET, "yes"),
        ["5: accounts.alice.password: YAML reads this word as true or false, not as text: put it in quotes"],
    ),
    ("user: []", good("alice@gmx.net", "[a]"), ["4: accounts.alice.user: one line of text is expected here"]),
    ("user:", good("alice@gmx.net", ""), ["4: accounts.alice.user: has no value: give one, or remove the line"]),
    ('user: ""', good("alice@gmx.net", '""'), ["4: accounts.alice.user: is empty"]),
    (
        "maildir: 1",
        good("/home/alice/Maildir", "1"),
        ["6: accounts.alice.deliver.maildir: YAML reads this as a number, not as text: put it in quotes"],
    ),
    # passwords
    (
        "a password in braces",
        good(SECRET, "{hunter2}"),
        [
            (
                "5: accounts.alice.password: unknown key: file, env, command, credential or keyring is expected; a "
                "plain password stands in quotes, not in braces"
            )
        ],
    ),
    (
        "a list for a password",
        good(SECRET, "[x]"),
        ["5: accounts.alice.password: a mapping is expected, as in password: {file: /run/secrets/gmx}"],
    ),
    (
        "two sources",
        good(SECRET, "{env: A, file: /a}"),
        ["5: accounts.alice.password: exactly one of file, env, command, credential or keyring is expected"],
    ),
    (
        "a variable with $",
        good("env: ALICE", "env: $ALICE"),
        [
            (
                "5: accounts.alice.password.env: the name of an environment variable is expected, without $, as in "
                "GMX_PASSWORD"
            )
        ],
    ),
    (
        "a credential's path",
        good("env: ALICE", "credential: ../x"),
        [
            (
                "5: accounts.alice.password.credential: the name of a systemd credential is expected, as in "
                "LoadCredential=NAME:…, without a /"
            )
        ],
    ),
    (
        "an entry of the keyring without its service",
        good("env: ALICE", "keyring: {user: alice}"),
        ["5: accounts.alice.password.keyring: service is missing"],
    ),
    (
        "a misspelt service of the keyring",
        good("env: ALICE", "keyring: {servce: gmx}"),
        ['5: accounts.alice.password.keyring: unknown key; did you mean "service"?'],
    ),
    (
        "a list for the keyring",
        good("env: ALICE", "keyring: [gmx]"),
        ["5: accounts.alice.password.keyring: a mapping is expected, as in keyring: {service: gmx, user: alice}"],
    ),
    (
        "an open quote in a command",
        good("env: ALICE", 'command: "pass \'a"'),
        ["5: accounts.alice.password.command: a quote within the command is never closed"],
    ),
    (
        "a number in a command",
        good("env: ALICE", "command: [pass, 1]"),
        ["5: accounts.alice.password.command: a text or a list of texts is expected: put numbers in quotes"],
    ),
    ("no command", good("env: ALICE", "command: []"), ["5: accounts.alice.password.command: names no command"]),
    (
        "a NUL in a command",
        good("env: ALICE", 'command: ["a", "\\0"]'),
        ["5: accounts.alice.password.command: holds a NUL, which no command can be given"],
    ),
    # CR, LF, NUL: FAULTS 88
    (
        "CRLF in the user",
        good("alice@gmx.net", '"a\\r\\nDELE 1"'),
        ["4: accounts.alice.user: holds a line break or a NUL: write it as one line"],
    ),
    (
        "LF in the host",
        good("pop.gmx.net", '"a\\nb"'),
        ["3: accounts.alice.host: holds a line break or a NUL: write it as one line"],
    ),
    (
        "NUL in the password",
        good(SECRET, '"a\\0b"'),
        ["5: accounts.alice.password: holds a line break or a NUL: write it as one line"],
    ),
    (
        "a block for a password",
        good(SECRET, "|\n      x"),
        ["5: accounts.alice.password: holds a line break or a NUL: write it as one line"],
    ),
    ("LF in a name", good("alice:", '"a\\nb":'), [f"2: accounts.a…: {NAMES}"]),
    # hosts and ports
    (
        "a URL",
        good("pop.gmx.net", "pop3s://pop.gmx.net/"),
        ["3: accounts.alice.host: a host is expected, not a URL: write host: pop.gmx.net and tls: implicit"],
    ),
    (
        "a port in the host",
        good("pop.gmx.net", "pop.gmx.net:995"),
        ['3: accounts.alice.host: "pop.gmx.net:995" holds a port: write host: pop.gmx.net and port: 995'],
    ),
    (
        "an empty label",
        good("pop.gmx.net", "pop..gmx.net"),
        ['3: accounts.alice.host: "pop..gmx.net" is not a host name or an IP address'],
    ),
    (
        "a bad address",
        good("pop.gmx.net", "300.1.1.1"),
        ['3: accounts.alice.host: "300.1.1.1" is not a host name or an IP address'],
    ),
    (
        "a socket without its path",
        good("pop.gmx.net", "unix:pop3.sock"),
        ["3: accounts.alice.host: write a Unix socket with its whole path, as in unix:/run/pop3.sock"],
    ),
    (
        "a port for a socket",
        good("pop.gmx.net", "unix:/run/pop3.sock", after="port: 110\n    tls: none"),
        ["7: accounts.alice.port: a Unix socket has no port: remove port, or name another host"],
    ),
    (
        "a proxy for a socket",
        good("pop.gmx.net", "unix:/run/pop3.sock", after="proxy: socks5://127.0.0.1:9050\n    tls: none"),
        [
            (
                "7: accounts.alice.proxy: a Unix socket cannot be reached through a proxy: remove proxy, or name "
                "another host"
            )
        ],
    ),
    (
        "an address for a socket",
        good("pop.gmx.net", "unix:/run/pop3.sock", after="source_address: 192.0.2.10\n    tls: none"),
        [
            (
                "7: accounts.alice.source_address: a Unix socket cannot be reached from an IP address: remove "
                "source_address, or name another host"
            )
        ],
    ),
    (
        "a certificate for a socket",
        good("pop.gmx.net", "unix:/run/pop3.sock"),
        [f"3: accounts.alice.host: {NAMELESS}"],
    ),
    (
        "a certificate for a socket, asked for",
        good("pop.gmx.net", "unix:/run/pop3.sock", after="tls: {mode: starttls, ca_file: /etc/passwd}"),
        [f"7: accounts.alice.tls: {NAMELESS}"],
    ),
    (
        "a plain line to a proxy's localhost",
        good("pop.gmx.net", "localhost", after="proxy: http://proxy.example:3128\n    tls: none"),
        [f"8: accounts.alice.tls: {PLAIN_LINE.replace('pop.gmx.net', 'localhost')}"],
    ),
    (
        "a proxy that is no URL",
        good(after="proxy: 127.0.0.1:9050"),
        ["7: accounts.alice.proxy: expected socks5://[user:password@]host:port, or http:// likewise"],
    ),
    (
        "a proxy's user without a password",
        good(after="proxy: socks5://alice@127.0.0.1:9050"),
        [
            (
                "7: accounts.alice.proxy: a user and no password: expected socks5://[user:password@]host:port, or "
                "http:// likewise, or password: {file: …} beside url"
            )
        ],
    ),
    (
        "a proxy's password without a user",
        good(after="proxy: {url: socks5://127.0.0.1:9050, password: {env: P}}"),
        [
            (
                "7: accounts.alice.proxy: a password and no user: expected socks5://[user:password@]host:port, or "
                "http:// likewise, or password: {file: …} beside url"
            )
        ],
    ),
    (
        "a proxy's password twice",
        good(after="proxy: {url: socks5://a:hunter2@127.0.0.1:9050, password: {env: P}}"),
        ["7: accounts.alice.proxy: a password stands in url and beside it: remove one of them"],
    ),
    (
        "a proxy without its URL",
        good(after="proxy: {password: {env: P}}"),
        ["7: accounts.alice.proxy: url is missing"],
    ),
    (
        "a URL of a proxy in braces",
        good(after="proxy: {socks5://a:hunter2@127.0.0.1:9050}"),
        ["7: accounts.alice.proxy: unknown key"],
    ),
    (
        "two sources of a proxy's password",
        good(after="proxy: {url: socks5://a@127.0.0.1:9050, password: {env: P, file: /p}}"),
        ["7: accounts.alice.proxy.password: exactly one of file, env, command, credential or keyring is expected"],
    ),
    (
        "a number for a proxy",
        good(after="proxy: 9050"),
        ["7: accounts.alice.proxy: a URL is expected, as in socks5://127.0.0.1:9050"],
    ),
    (
        "a name for a source address",
        good(after="source_address: eth0"),
        ['7: accounts.alice.source_address: "eth0" is not an IP address'],
    ),
    (
        "a number for a source address",
        good(after="source_address: 10"),
        ["7: accounts.alice.source_address: an IP address is expected, as in 192.0.2.10"],
    ),
    (
        "a rate without sense",
        good(after="minimum_rate: slow"),
        [
            (
                '7: accounts.alice.minimum_rate: "slow" is not a size: write a whole number and a unit, as in 512KB, '
                "50MB or 1GiB"
            )
        ],
    ),
    (
        "a socket for a certificate's name",
        good(after="tls: {server_name: 'unix:/a'}"),
        ['7: accounts.alice.tls.server_name: "unix" is not a host name or an IP address'],
    ),
    (
        "a URL with a password",
        good("pop.gmx.net", "pop3://bob:hunter2@pop.gmx.net/INBOX"),
        ["3: accounts.alice.host: a host is expected, not a URL: write host: pop.gmx.net and tls: starttls"],
    ),
    (
        "a user in the host",
        good("pop.gmx.net", "bob:hunter2@pop.gmx.net"),
        ["3: accounts.alice.host: a host name holds no @: the user stands under user"],
    ),
    (
        "a misspelt mechanism",
        good(after="mechanism: scram-sha256"),
        [
            (
                '7: accounts.alice.mechanism: "SCRAM-SHA256" is not one of AUTO, SCRAM-SHA-256-PLUS, SCRAM-SHA-1-PLUS, '
                "SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, APOP, PLAIN, LOGIN, USER, OAUTHBEARER, XOAUTH2 or EXTERNAL; "
                'did you mean "SCRAM-SHA-256"?'
            )
        ],
    ),
    ("port 0", good(after="port: 0"), ["7: accounts.alice.port: must be at least 1"]),
    ("port 65536", good(after="port: 65536"), ["7: accounts.alice.port: must be at most 65535"]),
    (
        "a port in quotes",
        good(after='port: "995"'),
        ["7: accounts.alice.port: a whole number is expected, without quotes or a leading zero"],
    ),
    (
        "an octal port",
        good(after="port: 0110"),
        ["7: accounts.alice.port: a whole number is expected, without quotes or a leading zero"],
    ),
    # TLS
    (
        "a misspelt mode",
        good(after="tls: implict"),
        ['7: accounts.alice.tls: "implict" is not one of implicit, starttls or none; did you mean "implicit"?'],
    ),
    (
        "tls: ssl",
        good(after="tls: ssl"),
        ['7: accounts.alice.tls: "ssl" is not one of implicit, starttls or none; did you mean "implicit"?'],
    ),
    (
        "tls: true",
        good(after="tls: true"),
        ['7: accounts.alice.tls: write implicit, starttls or none; did you mean "implicit"?'],
    ),
    (
        "tls: off",
        good(after="tls: off"),
        ['7: accounts.alice.tls: write implicit, starttls or none; did you mean "none"?'],
    ),
    (
        "a misspelt mode in a mapping",
        good(after="tls: {mode: stls}"),
        ['7: accounts.alice.tls.mode: "stls" is not one of implicit, starttls or none; did you mean "starttls"?'],
    ),
    ("tls: none", good(after="tls: none"), [f"7: accounts.alice.tls: {PLAIN_LINE}"]),
    (
        "implicit TLS on 110",
        good(after="port: 110"),
        ["7: accounts.alice.port: port 110 begins in the clear, not with TLS: write tls: starttls, or port: 995"],
    ),
    (
        "STARTTLS on 995",
        good(after="port: 995\n    tls: starttls"),
        ["7: accounts.alice.port: port 995 speaks TLS from the first octet: write tls: implicit, or port: 110"],
    ),
    (
        "a SHA-1 fingerprint",
        good(after=f"tls: {{fingerprint: '{'AB:' * 19}AB'}}"),
        [
            (
                "7: accounts.alice.tls.fingerprint: this is a SHA-1 fingerprint: take what `openssl x509 -noout "
                "-fingerprint -sha256` prints"
            )
        ],
    ),
    (
        "a key without a certificate",
        good(after="tls: {client_key: /k}"),
        ["7: accounts.alice.tls: client_key is of no use without client_cert"],
    ),
    # durations, sizes, counts
    (
        "no unit",
        good(after="interval: 300"),
        ["7: accounts.alice.interval: 300 has no unit: write 300s or 5m where seconds are meant"],
    ),
    (
        "a long unit",
        good(after="interval: 5 minutes"),
        ['7: accounts.alice.interval: "5 minutes" is not a duration: write 5m'],
    ),
    (
        "no duration",
        good(after="interval: soon"),
        [f'7: accounts.alice.interval: "soon" is not a duration: {DURATION}'],
    ),
    ("a clock", good(after="interval: 1:30"), [f'7: accounts.alice.interval: "1:30" is not a duration: {DURATION}']),
    ("never", good(after="interval: 0"), ["7: accounts.alice.interval: must be at least 1s"]),
    ("too long", good(after="timeout: 2d"), ["7: accounts.alice.timeout: must be at most 1d"]),
    (
        "a session too short",
        good(after="session_timeout: 10s"),
        ["7: accounts.alice.session_timeout: session_timeout (10s) is shorter than timeout (1m)"],
    ),
    (
        "days without a unit",
        good(after="leave_on_server: 14"),
        [
            (
                "7: accounts.alice.leave_on_server: 14 has no unit: write 14d for days; true never deletes, "
                "false deletes at once"
            )
        ],
    ),
    (
        "true in quotes",
        good(after='leave_on_server: "true"'),
        ["7: accounts.alice.leave_on_server: write true without quotes, or an age such as 14d"],
    ),
    (
        "a unit of two minds",
        good(after="max_size: 50M"),
        ['7: accounts.alice.max_size: "50M" is not a size: write 50MB (powers of 1000) or 50MiB (powers of 1024)'],
    ),
    (
        "no size",
        good(after="max_size: 0"),
        ["7: accounts.alice.max_size: must be at least 1 octet; none means no limit"],
    ),
    ("no messages", good(after="max_messages: 0"), ["7: accounts.alice.max_messages: must be at least 1"]),
    (
        "a misspelt choice",
        good(after="first_poll: skipp"),
        ['7: accounts.alice.first_poll: "skipp" is not one of all or skip; did you mean "skip"?'],
    ),
    # targets
    (
        "two targets",
        good(MAILDIR, "{maildir: /a, mbox: /b}"),
        ["6: accounts.alice.deliver: maildir and mbox are both given: exactly one of them is expected"],
    ),
    (
        "no target",
        good(MAILDIR, "{create_parents: true}"),
        ["6: accounts.alice.deliver: neither maildir nor mbox is given: exactly one of them is expected"],
    ),
    (
        "a path alone",
        good(MAILDIR, "/home/alice/Maildir"),
        ["6: accounts.alice.deliver: a mapping is expected, as in deliver: {maildir: /home/alice/Maildir}"],
    ),
    (
        "a variable in a path",
        good("/home/alice", "$HOME"),
        ["6: accounts.alice.deliver.maildir: variables are not expanded: write the path out, or begin it with ~/"],
    ),
    (
        "someone's home",
        good("/home/alice", "~alice"),
        ["6: accounts.alice.deliver.maildir: only a leading ~/ is expanded: write the path out"],
    ),
    (
        "a word for a switch",
        good("Maildir}", "Maildir, create_parents: ja}"),
        ["6: accounts.alice.deliver.create_parents: true or false is expected, without quotes"],
    ),
    # the top level
    (
        "an unknown level",
        good(before="log: {level: warn}\n"),
        ['1: log.level: "warn" is not one of debug, info, warning or error; did you mean "warning"?'],
    ),
    (
        "an unknown short form",
        good(before="log: jsn\n"),
        ['1: log: "jsn" is not one of debug, info, warning, error, auto, console or json; did you mean "json"?'],
    ),
    ("no workers", good(before="workers: 0\n"), ["1: workers: must be at least 1"]),
    (
        "a host without a port",
        good(before="http: localhost\n"),
        ['1: http: "localhost" has no port: write "host:port", as in 127.0.0.1:9725'],
    ),
    (
        "a port without a host",
        good(before="http: :9725\n"),
        ['1: http: ":9725" has no host: write 0.0.0.0:9725 to listen everywhere, or the port alone'],
    ),
    (
        "IPv6 without brackets",
        good(before="http: ::1:9725\n"),
        ['1: http: "::1:9725": write an IPv6 address in brackets and quotes, as in "[::1]:9725"'],
    ),
    ("a port too high", good(before="http: 99999\n"), ["1: http: 99999 is not a port: 1 to 65535"]),
    ("http: on", good(before="http: on\n"), ['1: http: write "host:port", or a port alone for 127.0.0.1']),
    # defaults
    (
        "a text for defaults",
        good(before="defaults: 5m\n"),
        ["1: defaults: a mapping of account keys is expected, as in defaults: {interval: 5m}"],
    ),
    (
        "a plain line by default",
        good(before="defaults: {tls: none}\n"),
        [f"4: accounts.alice.host: {PLAIN_LINE}"],
    ),
]
