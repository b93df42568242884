"""The reference of the configuration: every key with its meaning, type, default and an example; from the models. Pure.

It is read off the JSON Schema, so the manual page, docs/configuration.md and what an editor shows say the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from fetchd.config import fields, sections
from fetchd.config.json_schema import json_schema
from fetchd.config.schema import SIZE_PATTERN, AccountKeys, FileKeys
from fetchd.config.sections import DURATION_PATTERN, PROXY_PATTERN, Keys

_KINDS: Final = {DURATION_PATTERN: "a duration", SIZE_PATTERN: "a size", PROXY_PATTERN: "a URL"}

_FOUND: Final = (
    "fetchd is configured by one YAML file. It is looked for in `-c FILE`, `$FETCHD_CONFIG`, "
    "`$XDG_CONFIG_HOME/fetchd/fetchd.yaml` (`~/.config/fetchd/fetchd.yaml`) and `/etc/fetchd/fetchd.yaml`; the first "
    "one that is there counts. A running fetchd reads it anew on SIGHUP; where it has an error, that is reported, and "
    "the old settings stay in force."
)
_CHECKED: Final = (
    "An unknown key is an error. `fetchd check` tells of all errors at once, each with its line, and what was probably "
    "meant. `fetchd schema` prints a JSON Schema, with which editors complete and check the file."
)
_WRITTEN: Final = (
    "A duration is a whole number and a unit, `s`, `m`, `h`, `d` or `w`: `30s`, `5m`, `2h`, `14d`, `1w`. A size is a "
    "number of octets, or a number and a unit: `512KB`, `50MB` (powers of 1000), `512KiB`, `50MiB` (powers of 1024). A "
    "path may begin with `~/`, and a relative one starts at the directory of the file. A text that YAML would take for "
    "something else stands in quotes: `no`, `0123`, `@x`, `a: b`."
)
_BESIDE: Final[dict[str, tuple[str, frozenset[str]]]] = {
    "deliver": ("maildir: /home/alice/Maildir", frozenset({"maildir", "mbox"})),
    "keyring": ("service: gmx", frozenset({"service"})),
    "notices": ("command: /usr/local/bin/tell-me", frozenset({"command", "deliver"})),
    "oauth": ("…", frozenset()),
    "proxy": ("url: socks5://alice@127.0.0.1:1080", frozenset({"url"})),
}
"""By the section: what an example needs beside it, and the keys that need nothing."""

INTRODUCTION: Final = (_FOUND, _CHECKED, _WRITTEN)
"""Paragraphs of Markdown."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        meaning: Markdown, with spans of code and no other markup.
        type: what may be written, as a phrase: ``a duration, or `none```.
        default: as one would write it; "" where the meaning says what holds, or where there is none.
        example: ``key: value``, or the mapping that it stands in.
        below: where the keys of its mapping are explained; "" where it takes none.
    """

    name: str
    meaning: str
    type: str
    default: str
    example: str
    below: str


@dataclass(frozen=True, slots=True)
class Section:
    """The keys of one mapping.

    Attributes:
        title: what it is reached by: ``tls``; "" for the file itself.
        meaning: paragraphs of Markdown.
    """

    title: str
    meaning: tuple[str, ...]
    keys: tuple[Key, ...]


def reference() -> Iterator[Section]:
    """Yields the mappings that there are, the file's own first, each before those within it."""
    schema = json_schema()
    models = _models()
    definitions = schema["$defs"]
    yield _section("", schema, FileKeys, definitions)
    waiting = ["AccountKeys", *_inner(schema, definitions)]
    told = set()
    while waiting:
        name = waiting.pop(0)
        if name not in told:
            told.add(name)
            yield _section(_title(name), definitions[name], models[name], definitions)
            waiting[:0] = _inner(definitions[name], definitions)


def _models() -> dict[str, type[Keys]]:
    found: dict[str, type[Keys]] = {AccountKeys.__name__: AccountKeys}
    for one in vars(sections).values():
        if isinstance(one, type) and issubclass(one, Keys):
            found[one.__name__] = one
    return found


def _title(definition: str) -> str:
    """Returns what the section of a mapping is called: ``tls`` for ``TlsKeys``."""
    return definition.removesuffix("Keys").lower()


def _inner(schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    """Returns the definitions of the mappings within a mapping, but not the account's."""
    found = (_mapping(inner, definitions) for inner in schema["properties"].values())
    return [name for name in found if name not in {"", "AccountKeys"}]


def _mapping(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Returns the definition of the mapping that a value may be, or ""."""
    for option in (schema, *schema.get("anyOf", ())):
        name = option.get("$ref", "").rpartition("/")[2]
        if name and "properties" in definitions[name]:
            return str(name)
    return ""


def _section(title: str, schema: dict[str, Any], model: type[Keys], definitions: dict[str, Any]) -> Section:
    meaning = tuple(part.replace("\n", " ") for part in schema["description"].split("\n\n"))
    keys = tuple(_key(title, name, inner, model, definitions) for name, inner in schema["properties"].items())
    return Section(title, (*meaning, f"Example: `{model.example.replace(', or ', '`, or `')}`"), keys)


def _key(section: str, name: str, schema: dict[str, Any], model: type[Keys], definitions: dict[str, Any]) -> Key:
    below = _mapping(schema, definitions)
    default = _written(schema["default"]) if "default" in schema else ""
    meaning = model.model_fields[name].description or ""
    title = "account" if name == "accounts" else _title(below)
    example = _in_place(section, name, _example(name, schema, below, definitions))
    kind = "a mapping of names to accounts" if name == "accounts" else _type(schema, definitions)
    return Key(name, meaning, kind, default, example, title)


def _in_place(section: str, name: str, example: str) -> str:
    """Returns an example within the mapping that it stands in, so that one sees where that is."""
    if section in {"", "account"}:
        return example
    beside, free = _BESIDE.get(section, ("", frozenset[str]()))
    if name == "client_key":
        beside = "client_cert: /etc/fetchd/alice.pem"
    whole = f"{section}: {{{beside}, {example}}}" if beside and name not in free else f"{section}: {{{example}}}"
    return f"password: {{{whole}}}" if section == "keyring" else whole


def _example(name: str, schema: dict[str, Any], below: str, definitions: dict[str, Any]) -> str:
    if name == "accounts":
        return f"accounts: {{{AccountKeys.example}}}"
    if name == "defaults":
        return "defaults: {interval: 15m, leave_on_server: 14d}"
    if "examples" in schema:
        return f"{name}: {_written(schema['examples'][0])}"
    if below:
        # A mapping may stand under several keys: client_secret is written like a password.
        return f"{name}: {_models()[below].example.partition(', or ')[0].partition(': ')[2]}"
    enum = _choices(schema, definitions)
    sample = schema.get("default", enum[0] if enum else None)
    if sample is None:
        raise AssertionError(f"{name}: a key without a default and without an example")
    return f"{name}: {_written(not sample if isinstance(sample, bool) else sample)}"


def _choices(schema: dict[str, Any], definitions: dict[str, Any]) -> list[Any]:
    found = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return list(found.get("enum", ()))


def _type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Returns a phrase for what a schema takes."""
    if "properties" in schema:
        return "a mapping"
    if "anyOf" in schema:
        return ", or ".join(dict.fromkeys(_type(option, definitions) for option in schema["anyOf"]))
    if "$ref" in schema:
        return _type(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    words = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return fields.listed(f"`{_written(word)}`" for word in words) if words else _scalar(schema)


def _scalar(schema: dict[str, Any]) -> str:
    match schema["type"]:
        case "array":
            return "a list of texts"
        case "boolean":
            return "`true` or `false`"
        case "integer":
            return _number(schema)
    other = "a path" if "minLength" in schema else "a text"
    pattern = schema.get("pattern", "")
    return next((kind for known, kind in _KINDS.items() if pattern.endswith(known)), other)


def _number(schema: dict[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    bounds = f" from {least}" if least is not None else ""
    return f"a whole number{bounds}" + (f" to {most}" if most is not None else "")


def _written(value: Any) -> str:
    """Returns a scalar as it stands in YAML."""
    return str(yaml.safe_dump(value, allow_unicode=True, width=1000)).splitlines()[0]
