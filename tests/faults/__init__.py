"""FAULTS §2, A to E: one test for each case, from the outside. ``docs/faults.md`` is the map."""

import pytest

pytest.register_assert_rewrite("tests.faults.bench", "tests.faults.bounds")
