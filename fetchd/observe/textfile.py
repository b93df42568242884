"""The metrics of ``fetchd --once`` as a file, for node_exporter's textfile collector.

A run that lasts a moment cannot be scraped, and its counters begin at 0. So each run adds what it counted to what the
file says of the runs before: then ``increase()`` and ``rate()`` tell the same as with the daemon.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from fetchd.errors import FetchdError
from fetchd.observe.exposition import family, label

_ADDED: Final = frozenset({"counter", "histogram"})
_KEPT: Final = frozenset(
    {
        "fetchd_account_up",
        "fetchd_maildrop_messages",
        "fetchd_maildrop_bytes",
        "fetchd_oauth_token_expiry_timestamp_seconds",
    }
)
"""Gauges of an account that stay true while it is not polled (``-a``); the other gauges are this run's alone."""
_KNOWN: Final = "fetchd_account_interval_seconds"

_Key = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and its labels."""


def write_textfile(path: Path, text: str) -> None:
    """Puts a run's metrics into a file, added to what it says of the runs before.

    The file is replaced as a whole (rename), so that nobody reads half of it, and everybody may read it (0644). What is
    there and is no metrics is replaced too.

    Args:
        path: the file.
        text: the run's metrics, in Prometheus' text format.

    Raises:
        FetchdError: it cannot be written.
    """
    try:
        _replace(path, added_up(_former(path), text))
    except OSError as error:
        raise FetchdError(f"--textfile {path}: cannot be written: {error.strerror or error}") from error


def added_up(former: str, text: str) -> str:
    """Returns the metrics of ``text``, with the counts of ``former`` added to them.

    An account that is not configured any more goes. Where ``former`` is no metrics, it counts for nothing.
    """
    families = list(text_string_to_metric_families(text))
    accounts = {sample.labels["account"] for one in families if one.name == _KNOWN for sample in one.samples}
    before = _samples(former, accounts)
    return "".join(_written(one, before) for one in families)


def _written(now: Metric, before: Mapping[_Key, float]) -> str:
    names = _sample_names(now)
    samples = {(sample.name, tuple(sample.labels.items())): sample.value for sample in now.samples}
    earlier = {key: value for key, value in before.items() if key[0] in names}
    if now.type in _ADDED:
        samples = {key: samples.get(key, 0.0) + earlier.get(key, 0.0) for key in samples | earlier}
    elif now.name in _KEPT:
        samples = earlier | samples
    return "".join(_lines(now, samples))


def _lines(now: Metric, samples: Mapping[_Key, float]) -> Iterator[str]:
    """Yields a family's text; a histogram is one of several names, under one head."""
    total = f"{now.name}_total" if now.type == "counter" else now.name
    yield family(total, now.type, now.documentation, ())
    for (name, labels), value in samples.items():
        shown = ",".join(label(key, text) for key, text in labels)
        yield f"{name}{{{shown}}} {value!r}\n" if shown else f"{name} {value!r}\n"


def _sample_names(now: Metric) -> frozenset[str]:
    ends = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(now.type, ("",))
    return frozenset(f"{now.name}{end}" for end in ends)


def _samples(text: str, accounts: Iterable[str]) -> dict[_Key, float]:
    """Returns the samples of a text, less those of accounts that there are not; nothing where it is no metrics."""
    known = set(accounts)
    try:
        return {
            (sample.name, tuple(sample.labels.items())): sample.value
            for one in text_string_to_metric_families(text)
            for sample in one.samples
            if sample.labels.get("account") in known | {None}
        }
    except ValueError:
        return {}


def _former(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o644)
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
