"""Where each tool keeps its configuration and its memory, when nobody says otherwise. Pure: no file is looked at."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

TOOLS: Final = ("fetchmail", "getmail", "mpop")


def configurations(tool: str, home: Path, environ: Mapping[str, str]) -> list[Path]:
    """Returns where a tool's configuration may be, the likeliest first.

    Args:
        tool: one of :data:`TOOLS`.
        home: the user's home directory.
        environ: the process's environment.
    """
    xdg = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return {
        "fetchmail": [
            *([Path(environ["FETCHMAILHOME"]) / "fetchmailrc"] if environ.get("FETCHMAILHOME") else []),
            home / ".fetchmailrc",
            Path("/etc/fetchmailrc"),
        ],
        "getmail": [xdg / "getmail/getmailrc", home / ".getmail/getmailrc"],
        "mpop": [home / ".mpoprc", xdg / "mpop/config"],
    }[tool]


def memories(tool: str, home: Path, environ: Mapping[str, str]) -> list[Path]:
    """Returns the files, and directories of files, where a tool may keep the unique-ids that it has seen."""
    xdg = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return {
        "fetchmail": [
            *([Path(environ["FETCHMAILHOME"]) / ".fetchids"] if environ.get("FETCHMAILHOME") else []),
            home / ".fetchids",
            Path("/var/lib/fetchmail/.fetchids"),
            Path("/var/lib/fetchmail/.fetchmail-UIDL-cache"),
        ],
        "getmail": [xdg / "getmail", home / ".getmail", Path("/var/lib/getmail")],
        "mpop": [home / ".mpop_uidls"],
    }[tool]
