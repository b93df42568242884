"""What is wrong with a configuration: collected, put into words, sorted, said once.

A remark is made at a path (``accounts.alice.tls.mode``); the document knows the place. What stands below ``password``
is shown only where it is one of our own words, and a name only as far as it can be one: a password may have slipped
into a key (``{hunter2}``, or ``password hunter2`` without its colon).
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from fetchd.config import foreign
from fetchd.config.fields import listed, nearest
from fetchd.config.nodes import Document, Remark, Steps
from fetchd.config.schema import AccountKeys, FileKeys
from fetchd.config.sections import (
    DeliverKeys,
    KeyringKeys,
    Keys,
    LogKeys,
    MetricsKeys,
    NoticesKeys,
    OAuthKeys,
    PasswordKeys,
    ProxyKeys,
    TlsKeys,
)

_LIKE_A_NAME: Final = re.compile(r"[\w.@+/-]{0,60}")
_RUN_TOGETHER: Final = re.compile(r"(\w+)[ :=]")
_SECTIONS: Final[dict[str, type[Keys]]] = {
    "tls": TlsKeys,
    "password": PasswordKeys,
    "keyring": KeyringKeys,
    "proxy": ProxyKeys,
    "oauth": OAuthKeys,
    "client_secret": PasswordKeys,
    "deliver": DeliverKeys,
    "log": LogKeys,
    "metrics": MetricsKeys,
    "notices": NoticesKeys,
}
_MAY_HOLD_SECRETS: Final[dict[str | int, type[Keys]]] = {
    "password": PasswordKeys,
    "keyring": KeyringKeys,
    "proxy": ProxyKeys,
    "oauth": OAuthKeys,
    "client_secret": PasswordKeys,
}
_SAID: Final = {
    "int_type": "a whole number is expected, without quotes or a leading zero",
    "bool_type": "true or false is expected, without quotes",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}
"""What is said of pydantic's own types of error."""

_MODELS: Final[tuple[type[Keys], ...]] = (FileKeys, AccountKeys, *_SECTIONS.values())
_ALL_KEYS: Final = frozenset(key for model in _MODELS for key in model.model_fields)


@dataclass(slots=True)
class Report:
    """The errors and warnings about one file."""

    source: Path
    document: Document
    _errors: list[Remark] = field(default_factory=list)
    _warnings: list[Remark] = field(default_factory=list)

    def error(self, path: Steps, text: str) -> None:
        """Adds something that keeps fetchd from starting."""
        self._errors.append(self._remark(path, text))

    def warn(self, path: Steps, text: str) -> None:
        """Adds something that works and will hurt."""
        self._warnings.append(self._remark(path, text))

    def invalid(self, path: Steps, error: ValidationError, model: type[Keys]) -> tuple[frozenset[str], frozenset[str]]:
        """Adds what pydantic found wrong with the mapping at a path.

        Returns:
            The keys of the mapping that are no good, and the keys that unknown ones among them seem to stand for.
        """
        bad: set[str] = set()
        meant: set[str] = set()
        # Without url, input and the error itself: their texts may hold a password.
        for found in error.errors(include_url=False, include_input=False):
            steps = tuple(step for step in found["loc"] if step != "[key]")
            bad.add(str(steps[0]))
            if found["type"] == "extra_forbidden":
                said, other = _unknown_key(str(steps[-1]), _inner(steps[:-1], model))
                meant |= {other} if len(steps) == 1 else set()
            else:
                said = self._explain((*path, *steps), dict(found), _inner(steps, model))
            self.error((*path, *steps), said)
        return frozenset(bad), frozenset(meant)

    def errors(self) -> tuple[str, ...]:
        """Returns the errors as lines, in the order of the file. Of several at one place the first made counts."""
        taken = {(remark.line, remark.column, remark.path) for remark in self._errors}
        odd = [r for r in self.document.odd_numbers if (*self.document.place(r.path)[:2], r.path) not in taken]
        return self._lines([*self._errors, *(self._remark(r.path, r.text) for r in odd), *self.document.duplicates])

    def warnings(self) -> tuple[str, ...]:
        """Returns the warnings as lines, in the order of the file."""
        return self._lines(self._warnings)

    def line(self, path: Steps) -> int:
        """Returns the line on which the value at a path, or the nearest one above it, is named."""
        return self.document.place(path)[0]

    def _remark(self, path: Steps, text: str) -> Remark:
        line, column, found = self.document.place(path)
        return Remark(line, column, found, text)

    def _lines(self, remarks: list[Remark]) -> tuple[str, ...]:
        # What several accounts get from one line, by an alias or a default, is said once.
        once = {(r.line, r.column, r.text): r for r in reversed(remarks)}
        ordered = sorted(once.values(), key=lambda remark: (remark.line, remark.column))
        return tuple(f"{self.source}:{r.line}: {self._shown(r.path)}{r.text}" for r in ordered)

    def _shown(self, path: Steps) -> str:
        """Returns ``accounts.alice.password.command[1]: ``, or "" for the root; nothing that may be a password."""
        text = ""
        for index, step in enumerate(path):
            if isinstance(step, int):
                text += f"[{step}]"
                continue
            secret = _MAY_HOLD_SECRETS.get(path[index - 1]) if index else None
            if secret is not None and step not in secret.model_fields:
                break
            name = shown_name(step) if path[:index] == ("accounts",) or self._may_be_shown(path[: index + 1]) else "…"
            text += f".{name}" if text else name
        return f"{text}: " if text else ""

    def _may_be_shown(self, path: Steps) -> bool:
        """Whether this is a key of ours or has a value: ``{user: a, passwordhunter2}`` lost a colon, and is one key."""
        node = self.document.node(path)
        return path[-1] in _ALL_KEYS or (node is not None and node.value is not None)

    def _explain(self, path: Steps, found: dict[str, Any], model: type[Keys]) -> str:
        context = found.get("ctx", {})
        node = self.document.node(path)
        value = node.value if node else None
        match found["type"]:
            case "value_error":
                return str(context["error"])
            case "string_type":
                return _not_text(value)
            case "model_type" if model is PasswordKeys and isinstance(value, int | float):
                return _not_text(value)
            case "model_type" | "dict_type":
                return f"a mapping is expected, as in {model.example}"
            case kind:
                return _SAID.get(kind, "this cannot stand here").format(**context)


def shown_name(name: str) -> str:
    """Returns a name up to the first character that none of ours has."""
    like_a_name = _LIKE_A_NAME.match(name)
    cut = like_a_name[0] if like_a_name else ""
    return cut if cut == name else f"{cut}…"


def _inner(steps: Steps, outer: type[Keys]) -> type[Keys]:
    """Returns the model of the innermost mapping on the way; the outer one where no key takes a mapping."""
    models = (_SECTIONS[step] for step in reversed(steps) if step in _SECTIONS)
    return next(models, outer)


def _unknown_key(key: str, model: type[Keys]) -> tuple[str, str]:
    """Returns what to say of a key that a model does not have, and which of its keys seems to be meant, or ""."""
    run_together = _RUN_TOGETHER.match(key)
    if run_together and run_together[1] in model.model_fields:
        return f'a ": " is missing after "{run_together[1]}"', run_together[1]
    if model is PasswordKeys:
        # The key itself may be a password: {hunter2} is a mapping to YAML.
        known = listed(model.model_fields)
        return f"unknown key: {known} is expected; a plain password stands in quotes, not in braces", ""
    ours = foreign.OURS.get(key.lower(), "")
    meant = ours.partition(":")[0]
    if meant in model.model_fields:
        return f'unknown key; did you mean "{ours}"?', meant
    section = _section_of(key, model)
    if section:
        return f'unknown key; it belongs under "{section}"', section
    where = _elsewhere(key, model)
    if where:
        return f"unknown key{where}", ""
    close = nearest(key, model.model_fields)
    return f'unknown key; did you mean "{close}"?' if close else "unknown key", close


def _section_of(key: str, model: type[Keys]) -> str:
    names = (name for name, section in _SECTIONS.items() if name in model.model_fields and key in section.model_fields)
    return next(names, "")


def _elsewhere(key: str, model: type[Keys]) -> str:
    """Returns where a key belongs instead, or why nowhere; "" where nobody knows."""
    if key in FileKeys.model_fields and model is not FileKeys:
        return "; it belongs at the top level of the file"
    if key in AccountKeys.model_fields and model is not LogKeys:
        where = "into an account or into defaults" if model is FileKeys else "one level up, beside tls and deliver"
        return f"; it belongs {where}"
    why = foreign.NEEDLESS.get(key.lower()) if model in {FileKeys, AccountKeys} else None
    return f": {why}: remove this line" if why else ""


def _not_text(value: object) -> str:
    match value:
        case bool():
            return "YAML reads this word as true or false, not as text: put it in quotes"
        case int() | float():
            return "YAML reads this as a number, not as text: put it in quotes"
        case _:
            return "one line of text is expected here"
