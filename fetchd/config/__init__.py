"""The configuration: a YAML file in, ``model.Settings`` or every problem at its line out; and where secrets are had."""

from fetchd.config import plugins  # noqa: F401 - comes first: it makes the import of pydantic short
from fetchd.config.loader import Examined, examine, load
from fetchd.config.paths import find_config
from fetchd.config.secrets import SecretReader

__all__ = ["Examined", "SecretReader", "examine", "find_config", "load"]
