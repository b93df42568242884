"""Reading the accounts and the defaults, and laying the one over the other.

Every mapping is validated once, where it stands: what is wrong with a default is said at the default's line, and not
again for each account that inherits it.
"""

from typing import Final, TypeVar

from pydantic import ValidationError

from fetchd.config.checks import Candidate
from fetchd.config.fields import account_name
from fetchd.config.nodes import Document, Entry, Steps, plain
from fetchd.config.paths import Anchor
from fetchd.config.report import Report, shown_name
from fetchd.config.schema import AccountKeys, FileKeys
from fetchd.config.sections import Keys

_Model = TypeVar("_Model", bound=Keys)
_KNOWN: Final = frozenset(AccountKeys.model_fields)


def read_mapping(
    path: Steps, given: dict[str, object], *, model: type[_Model], anchor: Anchor, report: Report
) -> tuple[_Model, frozenset[str]]:
    """Returns what is good of a mapping as its model, and the keys of which nothing more need be said."""
    try:
        return model.model_validate(given, context=anchor), frozenset()
    except ValidationError as error:
        bad, meant = report.invalid(path, error, model)
    rest = {key: value for key, value in given.items() if key not in bad}
    return model.model_validate(rest, context=anchor), bad | meant


def merged_accounts(anchor: Anchor, report: Report) -> list[Candidate]:
    """Returns the accounts, each over the defaults, in the order of the file; tells the report what is wrong."""
    node = report.document.node(("accounts",))
    beside = sorted(slipped_accounts(report.document))
    if node is not None and not node.value and beside:
        text = f'is empty: indent the names of the accounts below it ("{shown_name(beside[0])}" stands beside it)'
        report.error(("accounts",), text)
        return []
    if node is None or not node.value:
        report.error(("accounts",), f'no account is configured; below "accounts:", indented: {AccountKeys.example}')
        return []
    if not isinstance(node.value, dict):
        report.error(("accounts",), f"names are expected below it, not a list or a text: {AccountKeys.example}")
        return []
    defaults, blamed = _defaults(anchor, report)
    strays = frozenset(name for name, entry in node.value.items() if _is_stray(name, entry))
    empty = [name for name, entry in node.value.items() if entry.node.value is None and name not in strays]
    for name in empty:
        report.error(("accounts", name), "has no keys: indent them below its name")
    for name in strays if not empty else ():
        report.error(("accounts", name), "this is a key of an account: indent it below the account's name")
    named = {name: entry for name, entry in node.value.items() if name not in strays and name not in empty}
    return [
        candidate
        for name, entry in named.items()
        if (candidate := _account(name, entry, defaults, blamed=blamed | strays, anchor=anchor, report=report))
    ]


def slipped_accounts(document: Document) -> frozenset[str]:
    """Returns the top-level names that must be accounts, for "accounts" is empty and keys of one stand below them."""
    accounts, root = document.node(("accounts",)), document.root.value
    if accounts is None or accounts.value or not isinstance(root, dict):
        return frozenset()
    return frozenset(
        name
        for name, entry in root.items()
        if name not in FileKeys.model_fields and isinstance(entry.node.value, dict) and _KNOWN & entry.node.value.keys()
    )


def _is_stray(name: str, entry: Entry) -> bool:
    """Whether this is a key that slipped out of its account, as its name and what stands below it say."""
    return name in _KNOWN and not (isinstance(entry.node.value, dict) and _KNOWN.intersection(entry.node.value))


def _defaults(anchor: Anchor, report: Report) -> tuple[AccountKeys, frozenset[str]]:
    given = plain(node) if (node := report.document.node(("defaults",))) else None
    if given is None:
        return AccountKeys(), frozenset()
    if not isinstance(given, dict):
        report.error(("defaults",), "a mapping of account keys is expected, as in defaults: {interval: 5m}")
        return AccountKeys(), _KNOWN
    return read_mapping(("defaults",), given, model=AccountKeys, anchor=anchor, report=report)


def _other_than_given(given: dict[str, object]) -> dict[str, None]:
    """Of password and oauth, the one that an account gives replaces either of the defaults."""
    one, other = "password" in given, "oauth" in given
    return {"oauth" if one else "password": None} if one is not other else {}


def _account(
    name: str, entry: Entry, defaults: AccountKeys, *, blamed: frozenset[str], anchor: Anchor, report: Report
) -> Candidate | None:
    path: Steps = ("accounts", name)
    try:
        account_name(name)
    except ValueError as error:
        report.error(path, str(error))
    given = plain(entry.node)
    if not isinstance(given, dict):
        report.error(path, f"a mapping is expected, as in {AccountKeys.example}")
        return None
    own, own_blamed = read_mapping(path, given, model=AccountKeys, anchor=anchor, report=report)
    values = {key: getattr(own, key) for key in own.model_fields_set}
    keys = defaults.model_copy(update={**_other_than_given(given), **values})
    return Candidate(name, keys, own=frozenset(given), blamed=own_blamed | (blamed - values.keys()))
