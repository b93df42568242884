"""The kinds of values that say whom to talk to: hosts, addresses, proxies, fingerprints. Pure, like ``fields.py``."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from fetchd.config.fields import one_line
from fetchd.config.units import quoted
from fetchd.model import UNIX_PREFIX, HttpAddress, Proxy, parse_proxy

LAST_PORT: Final = 65535

_THIS_MACHINE: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_URL: Final = re.compile(r"[\x21-\x7e]{1,2000}")

_FINGERPRINT: Final = re.compile(r"(?:sha-?256(?: fingerprint)?[:=] ?)?([0-9a-f]{2}(?::?[0-9a-f]{2})*)", re.IGNORECASE)
_HOST_NAME: Final = re.compile(r"(?=.{1,253}$)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")


def host(value: str) -> str:
    """Returns a host name, an IP address (an IPv6 one without its brackets), or ``unix:`` and a socket's path."""
    return _unix_socket(value) if one_line(value).startswith(UNIX_PREFIX) else host_name(value)


def host_name(value: str) -> str:
    """Returns a host name or an IP address, an IPv6 one without its brackets."""
    one_line(value)
    if "://" in value:
        raise ValueError(_without_url(value))
    if "@" in value:
        # What stands before it may be user:password.
        raise ValueError("a host name holds no @: the user stands under user")
    if value.startswith("[") and value.endswith("]"):
        value = value[1:-1]
    if _HOST_NAME.fullmatch(value) and not value.replace(".", "").isdigit():
        return value
    return _address_or_foreign_name(value)


def _unix_socket(value: str, example: str = "/run/pop3.sock") -> str:
    if not value.removeprefix(UNIX_PREFIX).startswith("/"):
        raise ValueError(f"write a Unix socket with its whole path, as in {UNIX_PREFIX}{example}")
    return value


def _without_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    name = rest.rpartition("@")[2].partition("/")[0].partition(":")[0]
    if not _HOST_NAME.fullmatch(name) or ("@" not in rest and ":" in rest):
        return "a host is expected, not a URL"
    modes = {"pop3s": " and tls: implicit", "pop3": " and tls: starttls"}
    return f"a host is expected, not a URL: write host: {quoted(name)[1:-1]}{modes.get(scheme, '')}"


def endpoint(value: str) -> str:
    """Returns the URL of an OAuth 2 endpoint: ``https``, or ``http`` where nobody can listen, on this machine."""
    try:
        parts = urlsplit(value)
        name, number = parts.hostname, parts.port
    except ValueError:
        name, number = None, 0
    if not name or number == 0 or parts.username is not None or parts.fragment or not _URL.fullmatch(value):
        raise ValueError("a URL is expected, as in https://login.example.org/token")
    if parts.scheme != "https" and not (parts.scheme == "http" and name in _THIS_MACHINE):
        raise ValueError("https:// is expected: secrets go there")
    return value


def source_address(value: object) -> str | None:
    """Returns an IP address of this machine; None for ``none``."""
    match value:
        case "none":
            return None
        case str():
            return _address(one_line(value))
        case _:
            raise ValueError("an IP address is expected, as in 192.0.2.10")


def _address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(f"{quoted(value)} is not an IP address") from None


def proxy_short(value: object) -> object:
    """Returns a proxy's URL as a mapping of it; None for ``none``; a mapping as it is."""
    match value:
        case "none":
            return None
        case str():
            return {"url": value}
        case dict():
            return value
        case _:
            raise ValueError("a URL is expected, as in socks5://127.0.0.1:9050")


def proxy(value: object) -> Proxy:
    """Returns the proxy that a URL names. Never repeats the URL: it may hold a password."""
    if not isinstance(value, str):
        raise ValueError("a URL is expected, as in socks5://127.0.0.1:9050")  # noqa: TRY004 - pydantic takes this one
    return parse_proxy(one_line(value), password_apart=True)


def _address_or_foreign_name(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    name, colon, port = value.rpartition(":")
    if colon and port.isdigit() and _HOST_NAME.fullmatch(name):
        raise ValueError(
            f"{quoted(value)} holds a port: write host: {quoted(name)[1:-1]} and port: {quoted(port)[1:-1]}"
        )
    try:
        # What the resolver will do to it: an empty label, or one of more than 63 octets, is a UnicodeError there.
        ascii_name = value.encode("idna").decode("ascii")
    except UnicodeError:
        ascii_name = ""
    if not _HOST_NAME.fullmatch(ascii_name) or ascii_name.replace(".", "").isdigit():
        # What stands after a colon may be a password, as in a URL's user:password.
        raise ValueError(f"{quoted(value.partition(':')[0])} is not a host name or an IP address")
    return value


def http_address(value: object) -> HttpAddress | None:
    """Returns ``host:port`` split; a port alone means loopback, ``unix:`` a socket's path, ``false`` off."""
    match value:
        case False:
            return None
        case int() if value is not True:
            return HttpAddress("127.0.0.1", _port(value))
        case str() if value.startswith(UNIX_PREFIX):
            return HttpAddress(_unix_socket(one_line(value), "/run/fetchd/http.sock"), 0)
        case str():
            return _host_and_port(value)
        case _:
            raise ValueError('write "host:port", or a port alone for 127.0.0.1')


def _host_and_port(value: str) -> HttpAddress:
    if "@" in value:
        raise ValueError('write "host:port", or a port alone for 127.0.0.1')
    name, colon, port = value.rpartition(":")
    if not port.isascii() or not port.isdigit():
        raise ValueError(f'{quoted(value)} has no port: write "host:port", as in 127.0.0.1:9725')
    if not colon:
        return HttpAddress("127.0.0.1", _port(int(port[:6])))
    if not name:
        raise ValueError(
            f"{quoted(value)} has no host: write 0.0.0.0:{port[:6]} to listen everywhere, or the port alone"
        )
    if ":" in name and not (name.startswith("[") and name.endswith("]")):
        raise ValueError(f'{quoted(value)}: write an IPv6 address in brackets and quotes, as in "[::1]:9725"')
    return HttpAddress(host_name(name), _port(int(port[:6])))


def _port(number: int) -> int:
    """Port 0 lets the system choose one; the log says which."""
    if not 0 <= number <= LAST_PORT:
        raise ValueError(f"{number} is not a port: 1 to {LAST_PORT}")
    return number


def fingerprint(value: object) -> bytes:
    """Returns the 32 octets of a SHA-256 fingerprint, colons or not, as ``openssl x509 -fingerprint`` prints it."""
    match = _FINGERPRINT.fullmatch(value.strip() if isinstance(value, str) else "")
    octets = bytes.fromhex(match[1].replace(":", "")) if match else b""
    if len(octets) == 32:  # noqa: PLR2004 - SHA-256
        return octets
    other = {16: "an MD5", 20: "a SHA-1"}.get(len(octets))
    what = f"this is {other} fingerprint" if other else "this is not a SHA-256 fingerprint (64 hex digits)"
    raise ValueError(f"{what}: take what `openssl x509 -noout -fingerprint -sha256` prints")
