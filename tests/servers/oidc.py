"""A real OAuth 2 provider, npm's oidc-provider, with a few addresses that let a test decide what somebody says."""

import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, Final, Self

PACKAGE: Final = "oidc-provider@9"
SCRIPT: Final = Path(__file__).with_name("oidc.mjs")
CLIENT_SECRET: Final = "client+secret/of-the-test 100%="


class UnavailableError(Exception):
    """It cannot run here; the message says why."""


def installed() -> Path:
    """Returns the directory in whose ``node_modules`` the provider is; npm installs it once.

    Raises:
        UnavailableError: there is no node or npm, or npm cannot install it.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise UnavailableError("node and npm are missing: apt-get install nodejs npm")
    root = Path(os.environ.get("FETCHD_OAUTH_CACHE", "/var/cache/fetchd-oauth"))
    if not (root / "node_modules" / "oidc-provider").is_dir():
        try:
            root.mkdir(parents=True, exist_ok=True)
            command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(root), PACKAGE]
            subprocess.run(command, check=True, capture_output=True, timeout=300, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError) as error:
            raise UnavailableError(f"npm cannot install {PACKAGE} into {root}: {error}") from error
    return root


class OidcProvider:
    """The provider, as a process of ours. A context manager."""

    def __init__(self, *, access_seconds: int) -> None:
        """``access_seconds`` is what an access token lives."""
        self._command = ["node", str(SCRIPT), str(installed()), str(access_seconds)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def introspection(self) -> str:
        """Where Dovecot asks whose a token is."""
        return f"{self.url.replace('://', '://dovecot:dovecot-secret@')}/token/introspection"

    def do(self, what: str, **query: str) -> str:
        """Asks for one of the addresses that only a test needs: ``approve``, ``deny``, ``mode``, ``revoke``."""
        return self._get(f"{self.url}/__{what}?{urllib.parse.urlencode(query)}", _opener())

    @staticmethod
    def browse(url: str) -> str:
        """Opens an address like a browser that says yes to everything; returns the last page's text."""
        return OidcProvider._get(url, _opener())

    @staticmethod
    def end_of(url: str) -> str:
        """Opens an address like such a browser, on a machine where nobody listens; returns where it ended."""
        try:
            _opener(_NoLanding()).open(url, timeout=20).close()
        except _LandedError as landed:
            return landed.address
        raise AssertionError("the browser was not sent back")

    @staticmethod
    def _get(url: str, opener: urllib.request.OpenerDirector) -> str:
        with opener.open(url, timeout=20) as response:
            text: str = response.read().decode()
            return text


class _LandedError(Exception):
    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


class _NoLanding(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if "code=" in newurl:
            raise _LandedError(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(*handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    no_proxy = urllib.request.ProxyHandler({})
    return urllib.request.build_opener(no_proxy, urllib.request.HTTPCookieProcessor(CookieJar()), *handlers)
