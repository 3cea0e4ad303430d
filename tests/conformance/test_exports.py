"""The exam of every export, on every family of models that it does not refuse."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import MODELS, trained
from torch import nn

from zafu import apart, artifact
from zafu.artifact import read_json
from zafu.cli import main
from zafu.deploy.bundle import opened
from zafu.deploy.gate import FILE, export, measured
from zafu.deploy.source import taken
from zafu.errors import Mismatch, Refused
from zafu.export import interface
from zafu.export.contract import Export, Source
from zafu.export.runtime import litert
from zafu.latency import filled
from zafu.run import Run
from zafu.signals import Stop

KINDS = {k: of for k, of in Export.kinds().items() if of.__module__.startswith("zafu.")}
REFUSED = {(kind, name) for kind in ("hub", "gguf") for name in MODELS if name != "decoder"}
SHOWN = {"onnx": [*MODELS]}  # the others: a net of each way to write a graph
FEW = ["convnet", "table", "decoder"]
CASES = [
    (kind, name)
    for kind, of in KINDS.items()
    if not of.last  # what says no more than the next token has tests of its own
    for name in SHOWN.get(kind, FEW)
]


def needs(kind: str) -> list[pytest.MarkDecorator]:
    """Why a kind is not examined here; each is named when tests are run with -rs."""
    lacking = [package for package, _ in Export.parse(kind).needs if find_spec(package) is None]
    own = kind == "litert" and not apart.place(litert.WRITER).is_dir()
    text = f"{kind}: expected the environment of its own, which zafu export makes (830 MB)"
    return [
        pytest.mark.skipif(bool(lacking), reason=f"{kind}: expected {', '.join(lacking)}"),
        pytest.mark.skipif(own, reason=text),
        *([] if kind in ("onnx", "hub") else [pytest.mark.slow]),
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: trained(name, folder) for name in MODELS}


@pytest.mark.parametrize(
    ("kind", "name"),
    [pytest.param(*case, marks=needs(case[0])) for case in CASES if case not in REFUSED],
)
def test_the_runtime_answers_as_the_model_does(
    kind: str, name: str, runs: dict[str, Run], tmp_path: Path
) -> None:
    how, folder = Export.parse(kind), tmp_path / kind

    found = export(runs[name], how, folder).found

    assert found["difference"] < 1e-5
    assert read_json(folder / FILE)["latency"]["32"][kind]["value"] > 0
    bundle = opened(folder, threads=1)
    assert bundle.kind == kind
    with taken(runs[name], None, print) as (source, split):
        agrees(source, bundle.answers)
        told = read_json(folder / interface.FILE)
        assert [one["name"] for one in told["inputs"]] == list(how.inputs(source))
        broken(source.module)
        with pytest.raises(Mismatch, match="nothing was published"):
            measured(source, how, folder, split, Stop())


def agrees(source: Source, answers: object) -> None:
    """Of any number of samples, and of windows that are not whole."""
    for size in (1, 3, 32):
        given = filled(source.inputs, size)
        cut = [given, (given[0][:, :7],)] if source.signature.inputs.kind == "tokens" else [given]
        for inputs in cut:
            with torch.no_grad():
                own = source.module(*inputs).numpy()
            other = answers(*(x.numpy() for x in inputs))  # pyright: ignore[reportCallIssue]
            np.testing.assert_allclose(other, own, rtol=1e-4, atol=1e-5 * np.abs(own).max())


def broken(module: nn.Module) -> None:
    """In place: the last matrix has another sign."""
    with torch.no_grad():
        [*module.parameters()][-1].add_(1)


@pytest.mark.parametrize(("kind", "name"), sorted(REFUSED))
def test_what_has_no_form_is_refused(
    kind: str, name: str, runs: dict[str, Run], tmp_path: Path
) -> None:
    with pytest.raises(Refused, match=f"found {runs[name].recipe.model.kind}"):
        export(runs[name], Export.parse(kind), tmp_path / kind)

    assert list(tmp_path.iterdir()) == []


def test_a_second_export_takes_the_place_of_the_first(runs: dict[str, Run], tmp_path: Path) -> None:
    again = partial(export, runs["mlp"], Export.parse("onnx"), tmp_path / "onnx")
    first, second = again().folder, again().folder

    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == ["onnx"]
    artifact.verify(second)


def test_an_unknown_kind_and_a_folder_in_the_way_are_refused(
    runs: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(runs["mlp"].folder)
    (tmp_path / "mine").mkdir()

    assert main(["export", run, "--kind", "onxx"]) == 2
    assert "did you mean onnx" in capsys.readouterr().err
    assert main(["export", run, "--kind", "openvino:f12"]) == 2
    assert "f32" in capsys.readouterr().err
    assert main(["export", run, "--kind", "onnx", "--to", str(tmp_path / "mine")]) == 2
    assert "expected a folder that zafu wrote or none" in capsys.readouterr().err


def test_a_missing_runtime_is_named_with_the_line_that_installs_it(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zafu.extras.find_spec", lambda _: None)

    with pytest.raises(Refused, match=r"pip install 'zafu\[onnx\]'"):
        export(runs["mlp"], Export.parse("onnx"), tmp_path / "onnx")

    assert list(tmp_path.iterdir()) == []
