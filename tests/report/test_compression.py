"""The report of a chain: a sentence to quote, a table, and pictures of what was traded."""

import json
import re
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.measure import Measurement
from zafu.report.element import render
from zafu.report.page import write
from zafu.report.pareto import Point, front, pareto

NUMBERS = st.floats() | st.integers() | st.sampled_from([0, -1, 1e99, 1e-320, 2**70, 1e308])
LEAF = st.none() | st.booleans() | st.text(max_size=5) | NUMBERS
ANY = st.recursive(
    LEAF, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x), max_leaves=6
)


def test_the_lead_says_what_was_saved_and_lost(tmp_path: Path) -> None:
    said = lead(tmp_path, chain())

    assert said == (
        "prune > int8 makes the model 10.0 times smaller on disk (1 MB to 100 kB), not shown to be "
        "faster or slower for 1 sample and 2.0 times faster for 32 samples. Its accuracy is "
        "96.0 % [94.0, 98.0], not shown to differ from before: −1.0 points [−3.0, 1.0] (McNemar)."
    )


@pytest.mark.parametrize(
    ("metric", "value", "verdict"),
    [
        ("accuracy", 0.05, "better than before"),
        ("accuracy", -0.05, "worse than before"),
        ("loss", 0.05, "worse than before"),
        ("loss", -0.05, "better than before"),
    ],
)
def test_a_difference_that_is_shown_is_named(
    tmp_path: Path, metric: str, value: float, verdict: str
) -> None:
    found = chain(metric)
    found["rows"][-1]["against"][0]["difference"] = one(value, 0.02)

    assert verdict in lead(tmp_path, found)


def test_each_model_has_its_row_and_its_point_in_both_planes(tmp_path: Path) -> None:
    page = written(tmp_path, chain())

    section = page[page.index("<h2>Compression") :]
    assert re.findall(r'<th scope="row">(.*?)</th>', section)[:3] == ["before", "1 prune", "2 int8"]
    assert section.count('<g class="before">') == 2
    assert section.count('<g class="link">') == 4
    assert "5.0\u202f× smaller" in section
    assert "not shown</small>" in section
    assert "Accuracy and size" in section.replace("accuracy", "Accuracy")


def test_a_decoder_is_timed_by_its_tokens(tmp_path: Path) -> None:
    found = chain()
    for row in found["rows"]:
        row["decoding"] = one(20.0 if row["name"] == "before" else 10.0, 0.1, "ms")

    page = written(tmp_path, found)

    assert "2.0 times faster</strong> for a token" in page
    assert "milliseconds for a token" in page
    assert "A token takes" in page


def test_the_limit_is_the_time_in_which_weights_are_read(tmp_path: Path) -> None:
    page = written(tmp_path, chain())

    limit = page[page.index("How fast it could be") :]
    first = re.findall(r'<td class="number">(.*?)</td>', limit)[:4]
    assert first == ["1 MB", "0.1\u202fms", "1\u202fms", "10 times"]


def test_weights_that_are_zero_are_said_and_not_drawn(tmp_path: Path) -> None:
    found = chain()
    found["rows"][1]["zeros"] = 0.5
    found["rows"][1]["histogram"] = {"low": -1.0, "high": 1.0, "counts": [25, 60, 15]}

    page = written(tmp_path, found)

    assert "100 weights, 50\u202f% zero" in page
    assert page.count('class="spread"') == 3
    assert page.count('<path class="raw"') == 2  # the model before, behind each link


def test_layers_are_ranked_by_the_loss_they_cost(tmp_path: Path) -> None:
    found = chain()
    found["rows"][2]["sensitivity"] = {
        "a": {"loss": 0.1, "bits": 4, "low": 0.25, "high": 0.5},
        "b": {"loss": 0.3},
        "c": {"loss": "much"},
        "d": 5,
    }

    page = written(tmp_path, found)

    layers = page[page.index("<h3>Layers") : page.index("<h3>How fast")]
    assert re.findall(r'<text class="name"[^>]*>(.*?)</text>', layers) == ["b", "a"]
    assert "0.1000 [0.2500, 0.5000] in 4 bits" in layers
    assert "<h3>Layers" not in written(tmp_path, chain())


def test_a_run_that_was_no_end_of_a_chain_has_no_section(tmp_path: Path) -> None:
    assert "<h2>Compression" not in write(tmp_path).read_text()
    assert "<h2>Compression" not in written(tmp_path, {"rows": []})
    assert "<h2>Compression" not in written(tmp_path, [1, 2])


@pytest.mark.parametrize("key", ["scores", "against", "bytes", "memory", "cost", "link", "name"])
def test_what_is_absent_is_left_out(tmp_path: Path, key: str) -> None:
    found = chain()
    for row in found["rows"]:
        del row[key]

    page = written(tmp_path, found)

    section = page[page.index("<h2>Compression") : page.index("</main>")]
    assert "nan" not in section
    assert "None" not in section


@given(data=st.data())
@settings(deadline=None, max_examples=50)
def test_any_value_in_any_place_gives_a_page(data: st.DataObject) -> None:
    found = chain()
    for _ in range(data.draw(st.integers(1, 4))):
        found = changed(found, data)

    with TemporaryDirectory() as folder:
        page = written(Path(folder), found)

    assert page.endswith("</html>\n")
    assert not re.search(r'"(nan|inf|-inf)"', page)


@given(
    costs=st.lists(st.floats(0, 1e100), min_size=2, max_size=9),
    data=st.data(),
    higher=st.booleans(),
)
@settings(deadline=None)
def test_nothing_beats_what_is_on_the_front(
    costs: list[float], data: st.DataObject, higher: bool
) -> None:
    values = [data.draw(st.integers(-5, 5)) for _ in costs]
    sign = 1 if higher else -1
    points = [
        Point(str(n), cost, Measurement.exact(float(value), n=1))
        for n, (cost, value) in enumerate(
            sorted(zip(costs, values, strict=True), key=lambda pair: (pair[0], -sign * pair[1]))
        )
    ]
    places = [(float(at), p.of.value) for at, p in enumerate(points)]

    found = front(points, places, 99.0, higher=higher)

    def worth(point: Point) -> float:
        return sign * point.of.value

    on = [points[int(at)] for at, _ in found[:-1]]
    for p in points:  # each is reached by one on the front, and those by none
        assert any(o.cost <= p.cost and worth(o) >= worth(p) for o in on)
        assert not any(p.cost <= o.cost and worth(p) > worth(o) for o in on)
        assert not any(p.cost < o.cost and worth(p) >= worth(o) for o in on)


def test_names_of_points_in_one_place_do_not_cover_each_other() -> None:
    points = [Point(f"link {n}", 100.0, Measurement.exact(0.5, n=9)) for n in range(4)]
    points.append(Point("before", 900.0, Measurement.exact(0.6, n=9), before=True))

    drawn = pareto("accuracy", points, "bytes", higher=True)

    found = re.findall(
        r'<text class="name" x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">', render(drawn)
    )
    assert len(found) == 5
    assert len({(y, anchor) for _, y, anchor in found}) >= 4


def changed(value: Any, data: st.DataObject) -> Any:
    """The value with something else in one place of it, however deep."""
    if not isinstance(value, (dict, list)) or not value or data.draw(st.integers(0, 7)) == 0:
        return data.draw(LEAF | ANY)
    new = value.copy()
    key = data.draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
    new[key] = changed(value[key], data)
    return new


def one(value: float, half: float, unit: str = "") -> dict[str, Any]:
    """A measurement with its interval."""
    ends = {"low": value - half, "high": value + half}
    return {"value": value, "unit": unit, "n": 100, "how": "McNemar", **ends}


def chain(metric: str = "accuracy") -> dict[str, Any]:
    """What is measured of a chain of two links."""
    rows = [
        row(metric, "before", None, 0.97, 10**6, 2.0),
        row(metric, "1 prune", {"kind": "prune", "amount": 0.5}, 0.98, 200_000, 1.0),
        row(metric, "2 int8", {"kind": "int8", "skip": ["head"]}, 0.96, 100_000, 1.0),
    ]
    return {
        "split": "test",
        "metric": metric,
        "higher_is_better": metric == "accuracy",
        "bandwidth": 1e10,
        "rows": rows,
        "notes": ["it is slower"],
    }


def row(
    metric: str,
    name: str,
    link: dict[str, Any] | None,
    score: float,
    size: int,
    milliseconds: float,
) -> dict[str, Any]:
    """A model of a chain."""
    latency = {"1": one(1.0, 0.1, "ms"), "32": one(milliseconds, 0.1, "ms")}
    gap = one(score - 0.97, 0.02)
    return {
        "name": name,
        "link": link,
        "scores": {metric: one(score, 0.02)},
        "against": [{"metric": metric, "difference": gap, "verdict": "not shown"}],
        "bytes": size,
        "memory": {"weights": 2 * size, "peak": 3 * size},
        "cost": {"parameters": 7, "bytes": size, "latency": latency},
        "decoding": None,
        "energy": None,
        "histogram": {"low": -1.0, "high": 1.0, "counts": [20, 60, 20]},
        "zeros": 0.0,
        "sensitivity": None,
    }


def written(run: Path, found: object) -> str:
    """The page of a run folder that says this of a chain."""
    (run / "compression.json").write_text(json.dumps(found))
    return write(run).read_text(encoding="utf-8")


def lead(run: Path, found: object) -> str:
    """The first sentences of the section, without markup."""
    page = written(run, found)
    (text,) = re.findall(r'<h2>Compression</h2><p class="lead">(.*?)</p>', page)
    return unescape(re.sub(r"<[^>]+>", "", text)).replace("\u202f", " ")
