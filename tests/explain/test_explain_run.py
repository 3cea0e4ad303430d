"""A finished run is explained by one command, on one page that data cannot make elements of."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zafu
from zafu.cli.entry import main
from zafu.deploy.bundle import opened
from zafu.deploy.gate import export
from zafu.errors import RecipeError, Refused
from zafu.explain.explain import Asked, explain
from zafu.explain.live import explanation
from zafu.export.onnx import Onnx
from zafu.recipe import Recipe
from zafu.report.diverging import colors
from zafu.report.explain_page import page, write
from zafu.run import Run

RECIPE: dict[str, Any] = {
    "task": "classification",
    "data": "digits",
    "model": {"kind": "vit", "width": 16, "heads": 2, "layers": 1, "patch": 2},
    "fit": {"optimizer": "adamw", "batch": 64, "epochs": 2, "threads": 1, "trackers": []},
    "evaluate": {"baselines": []},
}
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(1)</script>\u202e'
FEW = ("integrated-gradients", "occlusion")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return zafu.train(Recipe.parse(RECIPE), runs=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def found(run: Run) -> dict[str, Any]:
    return explain(run.folder, Asked(rows=2, methods=FEW, samples=3))


def test_a_run_is_explained_with_checks(found: dict[str, Any]) -> None:
    assert list(found["methods"]) == list(FEW)
    for method in found["methods"].values():
        assert {"random", "deletion", "insertion", "failures"} <= set(method["checks"])
    assert found["methods"][FEW[0]]["checks"]["missing"] <= 0.01
    for sample in found["samples"]:
        assert sample["picture"].startswith("data:image/png;base64,")
        assert np.shape(sample["maps"]["occlusion"]["values"]) == (8, 8)
        assert sample["true"] in "0123456789"


def test_the_command_writes_a_page_beside_the_run(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        ["explain", str(run.folder), "--rows", "1", "--methods", "rollout", "--samples", "2"]
    )

    said = capsys.readouterr().out
    assert code == 0
    assert "explain.html" in said
    assert "rollout" in (run.folder / "explain.html").read_text()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (
            Asked(methods=("permutation", "grad-cam")),
            "--methods permutation: expected columns, found pixels",
        ),
        (Asked(methods=("no-such",)), "expected one of"),
        (Asked(prompt="def "), "--prompt: expected a language model, found one of pixels"),
        (Asked(rows=0), "--rows: expected a number >= 1"),
        (Asked(rows=1, prompt="x"), "expected one of --input, --rows and --prompt"),
        (Asked(output="eleven"), "--output: expected a label of the model, found 'eleven'"),
        (Asked(move=1.0), "--move: expected counterfactual"),
    ],
)
def test_what_cannot_be_asked_is_refused(run: Run, asked: Asked, expected: str) -> None:
    with pytest.raises((Refused, RecipeError), match=expected):
        explain(run.folder, asked)


def test_the_other_class_has_another_map(run: Run) -> None:
    first, second = (
        explain(run.folder, Asked(rows=1, methods=FEW[:1], samples=1, output=label))
        for label in ("3", "8")
    )

    maps = [f["samples"][0]["maps"][FEW[0]]["values"] for f in (first, second)]
    assert first["samples"][0]["output"] == "3"
    assert not np.allclose(*maps)


def test_an_export_is_explained_by_its_answers_alone(run: Run, tmp_path: Path) -> None:
    export(run, Onnx(), tmp_path / "onnx")
    split = run.recipe.data.open(next((run.folder.parent / "data").glob("*/")), "test")
    batch = split.batch(np.arange(1))

    live = [explanation(opened(f), *batch.inputs) for f in (run.folder, tmp_path / "onnx")]

    assert [one["method"] for one in live] == ["integrated-gradients", "occlusion"]
    assert live[0]["output"] == live[1]["output"]
    assert live[0]["probability"] == pytest.approx(live[1]["probability"], abs=1e-4)
    with pytest.raises(Refused, match="another runtime gives answers alone"):
        explain(tmp_path / "onnx", Asked(methods=("saliency",)))
    with pytest.raises(Refused, match="--rows: expected a run with its data"):
        explain(tmp_path / "onnx", Asked(rows=1))


def test_data_makes_no_element_and_nothing_is_loaded(found: dict[str, Any], tmp_path: Path) -> None:
    labels = {"name": "word", "true": "word", "output": "word"}
    pictures = {**found, "name": "word", "samples": [{**found["samples"][0], **labels}]}
    for plain in (pictures, rows(), text()):
        calm, wild = Tree(page(plain)), Tree(page(replaced(plain)))

        assert wild.tags == calm.tags
        assert "script" not in wild.tags
        assert not any(name.startswith("on") or name == "style" for name, _ in wild.attributes)
        for name, value in wild.attributes:
            assert name not in ("src", "href") or value.startswith("data:")
    head = Tree(write(found, tmp_path / "a.html").read_text()).attributes
    assert any(name == "content" and "default-src 'none'" in value for name, value in head)


@pytest.mark.parametrize("junk", [None, [], {}, "x", 5, float("nan"), [[1], [2, 3]], [None]])
def test_any_value_in_place_of_any_part_gives_a_page(found: dict[str, Any], junk: Any) -> None:
    for plain in (found, rows(), text()):
        for path in paths(plain):
            assert page(put(plain, path, junk)).endswith("</html>\n")


def test_equal_steps_of_a_value_are_equal_steps_of_color() -> None:
    found = colors(np.array([-1.0, 0.0, 1.0]), signed=True)

    assert found[1].min() > 245
    assert found[0][2] > found[0][0] + 60  # blue against
    assert found[2][0] > found[2][2] + 60  # orange for
    light = colors(np.linspace(0, 1, 11), signed=False).mean(1)
    assert (np.diff(light) < 0).all()


def rows() -> dict[str, Any]:
    """What is found of a model of a table."""
    one = {"value": 0.5, "n": 4, "low": 0.2, "high": 0.8, "how": "word"}
    change = {"name": "word", "from": "word", "to": "word"}
    way = {"changes": [change], "distance": 1.0, "output": "word", "answer": 0.5}
    sample = {
        "name": "word", "true": "word", "output": "word", "number": 2.5,
        "columns": [{"name": "word", "value": "word"}],
        "adds": {"shapley": {"how": "word", "values": [1.5], "spread": [0.5]}},
        "counterfactual": {"move": 1.0, "ways": [way]},
    }  # fmt: skip
    curve = {"mean": [1.0, 2.0], "low": [0.9, 1.9], "high": [1.1, 2.1], "lines": [[1.0, 2.0]]}
    number = {**curve, "name": "word", "places": [0.0, 1.0], "shares": [1.0], "edges": [0.0, 1.0]}
    category = {**curve, "name": "word", "labels": ["word", "word"], "shares": [0.5, 0.5]}
    points = [{"strength": float(at), "score": one} for at in range(3)]
    layer = {"name": "word", "numbers": 5, "noise": one, "rounded": one}
    return {
        "name": "word", "kind": "columns", "task": "regression", "model": "word", "checked": 3,
        "samples": [sample],
        "methods": {"shapley": {"signed": True, "seconds": 0.1, "says": "word",
                                "checks": {"random": one, "missing": 0.1, "failures": ["word"]}}},
        "overviews": {
            "permutation": {"metric": "r2", "score": one,
                            "columns": [{"name": "word", "worse": one}]},
            "partial-dependence": {"output": "word", "rows": 9, "columns": [number, category]},
            "input-sensitivity": {"metric": "r2", "samples": 9, "curves": [
                {"name": "word", "setting": "word", "points": points}]},
            "layer-sensitivity": {"loss": one, "noise": 0.2, "bits": 4, "layers": [layer]},
        },
        "refused": {"saliency": "word"},
    }  # fmt: skip


def text() -> dict[str, Any]:
    """What is found of a language model."""
    sample = {
        "name": "word", "true": "", "output": "word", "probability": 0.5,
        "tokens": ["word", "word"],
        "adds": {"occlusion": {"how": "word", "values": [1.0, -0.5]}},
        "attention": {"layers": {"1": [[0.5, 0.3, 0.2]]}},
    }  # fmt: skip
    return {"name": "word", "kind": "tokens", "samples": [sample], "methods": {}, "overviews": {}}


def replaced(value: Any) -> Any:
    """Plain data in which every word of data is hostile."""
    if isinstance(value, dict):
        return {key: replaced(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [replaced(inner) for inner in value]
    return HOSTILE if value == "word" else value


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where parts of plain data are, of lists the first."""
    if isinstance(value, dict):
        return [p for k, v in value.items() for p in [(*at, k), *paths(v, (*at, k))]]
    if isinstance(value, list) and value:
        return [(*at, 0), *paths(value[0], (*at, 0))]
    return []


def put(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    """A copy with something else in one place."""
    if not path:
        return junk
    new = value.copy()
    new[path[0]] = put(value[path[0]], path[1:], junk)
    return new


class Tree(HTMLParser):
    """Tags and attributes that a browser would find."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
