"""fetchd.observe.exposition: what is written is what prometheus-client would write, and its parser reads it."""

import doctest

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

import fetchd.observe.exposition
from fetchd.observe.exposition import family, label

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(min_value=0, max_value=2**53) | st.floats(min_value=0, max_value=1e18)


class One(Collector):
    def __init__(self, family: CounterMetricFamily | GaugeMetricFamily) -> None:
        self._family = family

    def collect(self):
        yield self._family


def written_by_the_library(one: CounterMetricFamily | GaugeMetricFamily) -> str:
    registry = CollectorRegistry()
    registry.register(One(one))
    return generate_latest(registry).decode()


def parsed(text: str) -> list[tuple[str, str, str, list[tuple[dict[str, str], float]]]]:
    return [
        (one.name, one.type, one.documentation, [(sample.labels, sample.value) for sample in one.samples])
        for one in text_string_to_metric_families(text)
    ]


@given(st.dictionaries(NAMES, NUMBERS, max_size=4))
def test_it_reads_as_what_the_library_writes(numbers: dict[str, float]) -> None:
    gauge = GaugeMetricFamily("g", "Some text.", labels=["account"])
    counter = CounterMetricFamily("c", "Some text.", labels=["account"])
    for name, number in numbers.items():
        gauge.add_metric([name], number)
        counter.add_metric([name], number)
    samples = [(label("account", name), number) for name, number in numbers.items()]
    assert parsed(family("g", "gauge", "Some text.", samples)) == parsed(written_by_the_library(gauge))
    assert parsed(family("c_total", "counter", "Some text.", samples)) == parsed(written_by_the_library(counter))


def test_what_is_not_known_has_no_sample() -> None:
    assert family("g", "gauge", "t", [("", None), ("", 0)]) == "# HELP g t\n# TYPE g gauge\ng 0\n"


def test_a_lone_surrogate_does_not_break_the_scrape() -> None:
    """FAULTS 114."""
    text = family("g", "gauge", "t", [(label("account", "a\udc80"), 1)])
    assert text.encode().endswith(rb'{account="a\udc80"} 1' + b"\n")


def test_the_examples_are_true() -> None:
    assert doctest.testmod(fetchd.observe.exposition) == (0, 1)
