"""Whatever `compression.json` holds, the page comes out."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zafu.report.choice import section, verdict
from zafu.report.compression_page import page

KEYS = (
    *("question", "metric", "target", "within", "pick", "rows", "notes", "name", "validation"),
    *("this", "difference", "value", "low", "high", "bytes", "memory", "peak", "cost", "latency"),
    *("test", "size", "front", "decoding", "1", "n", "how", "higher_is_better", "against"),
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3),
    st.sampled_from(["search", "rivals", "before", "accuracy", "latency"]),
)  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=20,
)
ROW = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.lists(ROW, min_size=1, max_size=4))
def test_anything_gives_a_page(found: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    assert page({**found, "rows": rows}, "name").startswith("<!doctype html>")


def test_a_run_that_was_not_compressed_has_no_section() -> None:
    assert section({}) is None


def test_where_nothing_was_taken_the_page_says_so() -> None:
    found = {"question": "search", "within": 0.01, "target": "size", "pick": "before"}

    assert "stays as it is" in verdict({**found, "metric": "accuracy"})
