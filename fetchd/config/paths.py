"""Where files are: the configuration, the state, and what a path in the configuration means.

``environ`` is a process's environment; nothing here reads ``os.environ``.
"""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fetchd.config.fields import STORE_NAME
from fetchd.errors import ConfigError
from fetchd.values import value

FILE_NAME: Final = "fetchd.yaml"
_SYSTEM_CONFIG: Final = Path("/etc/fetchd") / FILE_NAME
_SYSTEM_STATE: Final = Path("/var/lib/fetchd") / STORE_NAME


@value
class Anchor:
    """What the paths of one configuration file start from.

    Attributes:
        directory: the file's own, absolute; relative paths start there.
        home: what ``~/`` stands for, or None where nobody knows.
    """

    directory: Path
    home: Path | None

    def resolve(self, text: str) -> Path:
        """Returns the absolute path that a text of the configuration means.

        Raises:
            ValueError: it begins with ``~/`` and there is no home.
        """
        if not text.startswith("~/"):
            return self.directory / text
        if self.home is None:
            raise ValueError("~/ cannot be expanded: HOME is not set; write the path out")
        return self.home / text.removeprefix("~/").lstrip("/")


def home(environ: Mapping[str, str]) -> Path | None:
    """Returns ``$HOME``, else the user's home in the password database; None where there is neither."""
    if environ.get("HOME", "").startswith("/"):
        return Path(environ["HOME"])
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return None


def find_config(explicit: Path | None, environ: Mapping[str, str]) -> Path:
    """Returns the configuration file to use: ``-c``, ``$FETCHD_CONFIG``, the user's, the system's.

    A file that was named is used or refused; there is no falling back from it.

    Raises:
        ConfigError: there is none; the text lists where it was looked for.
    """
    if explicit is not None:
        return explicit
    if environ.get("FETCHD_CONFIG"):
        return Path(environ["FETCHD_CONFIG"])
    own = _xdg(environ, "XDG_CONFIG_HOME", ".config")
    places = [*([own / FILE_NAME] if own else []), _SYSTEM_CONFIG]
    for place in places:
        if os.path.lexists(place):
            return place
    looked = " and ".join(str(place) for place in places)
    raise ConfigError(f"no configuration found: looked for {looked}; fetchd init writes one, -c FILE names one")


def system_config() -> Path:
    """Returns the configuration of the system's own fetchd, which the shipped systemd units name."""
    return _SYSTEM_CONFIG


def new_config(environ: Mapping[str, str]) -> Path:
    """Returns where a first configuration belongs, so that :func:`find_config` finds it.

    Raises:
        ConfigError: neither the environment nor the password database gives a place.
    """
    if environ.get("FETCHD_CONFIG"):
        return Path(environ["FETCHD_CONFIG"])
    own = _xdg(environ, "XDG_CONFIG_HOME", ".config")
    if own is not None and (os.geteuid() != 0 or os.path.lexists(own / FILE_NAME)):
        return own / FILE_NAME
    if os.geteuid() == 0:
        return _SYSTEM_CONFIG
    raise ConfigError("nowhere to put a configuration: HOME is not set; name the file, as in fetchd init FILE")


def default_state(environ: Mapping[str, str]) -> Path:
    """Returns where the store is when the configuration does not say.

    Raises:
        ConfigError: neither the environment nor the password database gives a place.
    """
    # systemd gives several directories separated by colons where StateDirectory= names several (systemd.exec(5)).
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given) / STORE_NAME
    if os.geteuid() == 0 and not environ.get("XDG_STATE_HOME"):
        return _SYSTEM_STATE
    own = _xdg(environ, "XDG_STATE_HOME", ".local/state")
    if own is None:
        raise ConfigError('nowhere to keep the state: HOME is not set; give "state: /some/where/fetchd.db"')
    return own / STORE_NAME


def _xdg(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    """XDG Base Directory Specification: a relative path in the variable is invalid and ignored."""
    if environ.get(variable, "").startswith("/"):
        return Path(environ[variable]) / "fetchd"
    start = home(environ)
    return start / below_home / "fetchd" if start else None
