"""pydantic's search for plugins, which ``cli.main`` forbids: what it would search with is not loaded either.

``pydantic.plugin._loader`` imports importlib.metadata, and with it zipfile, tempfile, csv and more, which nothing else
of ours needs: 5 % of a ``fetchd --once`` that has nothing to do.
"""

import os
import sys
from contextlib import suppress
from types import ModuleType
from typing import Final

_SEARCH: Final = "importlib.metadata"


def load_without_search() -> None:
    """Imports that module of pydantic's without importlib.metadata, which it never calls where plugins are forbidden.

    A pydantic that wants more of importlib.metadata than this one does is imported as it is, by whoever needs it.
    """
    if os.environ.get("PYDANTIC_DISABLE_PLUGINS") != "__all__" or _SEARCH in sys.modules:
        return
    hollow = ModuleType(_SEARCH)
    hollow.entry_points = None  # type: ignore[attr-defined] # the name is imported, and not called
    sys.modules[_SEARCH] = hollow
    try:
        with suppress(ImportError):
            import pydantic.plugin._loader  # noqa: F401, PLC0415 - see above
    finally:
        del sys.modules[_SEARCH]


load_without_search()
