"""The JSON Schema of the configuration, for editors and for the reference; made from the models. Pure.

It takes what the loader takes, as one writes it in YAML. What the loader checks beyond that, it alone knows: a schema
that is fine with a file is no promise.
"""

import json
from typing import Any, Final

from fetchd.config.schema import FileKeys

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TITLE: Final = "fetchd.yaml, the configuration of fetchd"

_ONE_SOURCE: Final = {"minProperties": 1, "maxProperties": 1}
_RULES: Final[dict[str, dict[str, Any]]] = {
    "PasswordKeys": _ONE_SOURCE,
    "DeliverKeys": {"oneOf": [{"required": ["maildir"]}, {"required": ["mbox"]}]},
    "KeyringKeys": {"required": ["service"]},
    "ProxyKeys": {"required": ["url"]},
    "NoticesKeys": {"anyOf": [{"required": ["command"]}, {"required": ["deliver"]}]},
}
"""What the models check by functions of their own, as far as a schema can say it."""


def json_schema() -> dict[str, Any]:
    """Returns the schema, JSON Schema draft 2020-12, in the order of the models."""
    made = FileKeys.model_json_schema()
    definitions = {name: _named(name, dict(schema)) for name, schema in made["$defs"].items()}
    properties = _untitled(made["properties"])
    properties["accounts"] |= {"additionalProperties": False, "minProperties": 1}
    return {
        "$schema": DIALECT,
        "title": TITLE,
        "description": made["description"],
        "type": "object",
        "properties": properties,
        "required": made["required"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def json_schema_text() -> str:
    """Returns what ``fetchd schema`` prints."""
    return json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n"


def _named(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a definition without the titles that are the names of our classes."""
    schema.pop("title", None)
    if "properties" not in schema:  # one of the model's enumerations, whose docstring is for programmers
        schema.pop("description", None)
        return schema
    schema["properties"] = _untitled(schema["properties"])
    return schema | _RULES.get(name, {})


def _untitled(properties: dict[str, Any]) -> dict[str, Any]:
    """Returns the keys without their titles: an editor would show ``Sessions Per Host`` above the key itself."""
    return {
        key: {word: value for word, value in schema.items() if word != "title"} for key, schema in properties.items()
    }
