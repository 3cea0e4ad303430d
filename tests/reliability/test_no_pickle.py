"""S1: nothing that is read can run code: by the source of the package, and by hostile files."""

from __future__ import annotations

import ast
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Workshop
from inside import run_of, signed
from safetensors.torch import load_file, save_file

import zafu
from zafu import pipeline
from zafu.deploy import bundle
from zafu.errors import ZafuError
from zafu.run import Run

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
PACKAGE = Path(zafu.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
PLUGINS = PACKAGE / "plugins.py"


def _found(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Whatever could run code from data, with where it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        yield from ((f"import {n}", node) for n in names if n.partition(".")[0] in MODULES)
        if isinstance(node, ast.Call):
            yield from ((what, node) for what in _called(node))


def _called(call: ast.Call) -> Iterator[str]:
    text = ast.unparse(call.func)
    name = text.rpartition(".")[2]
    given = {k.arg: k.value for k in call.keywords}
    if text in ("torch.load", "torch.save", "torch.jit.load", "torch.package.PackageImporter"):
        yield text
    if name in ("eval", "exec", "compile", "__import__") and text == name:
        yield text
    if name == "exec_module":
        yield text
    if text == "np.load" and not _is(given.get("allow_pickle"), False):
        yield "np.load without allow_pickle=False"
    if text == "np.save" and not _is(given.get("allow_pickle"), False):
        yield "np.save without allow_pickle=False"
    if "weights_only" in given and not _is(given["weights_only"], True):
        yield "weights_only that is not True"
    if "trust_remote_code" in given and not _is(given["trust_remote_code"], False):
        yield "trust_remote_code that is not False"
    if text.startswith("yaml.") and name in ("load", "full_load", "unsafe_load", "load_all"):
        yield text
    if name in ("all_gather_object", "broadcast_object_list", "scatter_object_list"):
        yield text


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("file", SOURCES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_source_file_has_nothing_that_runs_code_from_data(file: Path) -> None:
    found = [(what, node) for what, node in _found(ast.parse(file.read_text("utf-8")))]

    allowed = ["spec.loader.exec_module"] if file == PLUGINS else []
    assert [what for what, _ in found] == allowed


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "import torch; torch.load('x')",
        "np.load('x')",
        "np.load('x', allow_pickle=True)",
        "f(weights_only=False)",
        "f(weights_only=flag)",
        "f(trust_remote_code=flag)",
        "yaml.load(text, yaml.UnsafeLoader)",
        "eval('1')",
        "loader.exec_module(m)",
        "dist.all_gather_object(a, b)",
    ],
)
def test_the_rule_finds(line: str) -> None:
    assert list(_found(ast.parse(line)))


def test_a_run_writes_no_pickle_and_no_archive(short: Workshop) -> None:
    files = [f for f in (short.folder / "runs").rglob("*") if f.is_file()]
    assert len(files) > 20

    for file in files:
        data = file.read_bytes()
        assert not data.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")), file
        assert not data.startswith(b"PK\x03\x04"), file
        assert not zipfile.is_zipfile(file), file
        if file.suffix == ".npy":
            assert b"'descr': '|O'" not in data[:200], file


class Payload:
    """Unpickled, it marks that code ran."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


def _pickled(mark: Path) -> bytes:
    return pickle.dumps(Payload(mark))


def _torch_saved(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": Payload(mark)}, buffer)
    return buffer.getvalue()


def _object_array(mark: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


DEEP = b"[" * 200_000
BYTES = {
    "a pickle": _pickled,
    "a torch archive": _torch_saved,
    "an array of objects": _object_array,
    "deep JSON": lambda _: DEEP,
    "deep JSON in a header": lambda _: len(DEEP).to_bytes(8, "little") + DEEP,
    "nothing": lambda _: b"",
    "null": lambda _: b"null",
    "a list": lambda _: b"[]",
    "an empty mapping": lambda _: b"{}",
    "no text": lambda _: b"\xff\xfe\xfa" * 99,
    "a surrogate": lambda _: b'{"a": "\\ud800"}',
}


@pytest.fixture(scope="module")
def finished(short: Workshop) -> Run:
    """A finished run."""
    return run_of(short.folder, short.recipe, "undisturbed")


MODEL_FILES = ("model.safetensors", "signature.json", "card.json", "recipe.yaml", "columns.json")
CHECKPOINT_FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "card.json")


@pytest.mark.parametrize("file", MODEL_FILES)
@pytest.mark.parametrize("content", BYTES)
def test_a_hostile_model_folder_is_refused(
    content: str, file: str, finished: Run, tmp_path: Path
) -> None:
    """Its author made card and digests fit, so that nothing but the reader stands in the way."""
    folder, mark = tmp_path / "model", tmp_path / "MARK"
    shutil.copytree(finished.model, folder)
    (folder / file).write_bytes(BYTES[content](mark))
    if file != "card.json":
        signed(folder)
    rows = tmp_path / "rows.csv"
    rows.write_text("rooms,area,age,town\n3,77.5,12.0,Bex\n")

    with pytest.raises(ZafuError):
        bundle.predict(folder, rows)

    assert not mark.exists()


@pytest.mark.parametrize("file", CHECKPOINT_FILES)
@pytest.mark.parametrize("content", BYTES)
def test_a_hostile_checkpoint_is_refused_or_set_aside(
    content: str, file: str, finished: Run, tmp_path: Path
) -> None:
    run, mark = Run(tmp_path / "runs" / "evil", finished.recipe), tmp_path / "MARK"
    shutil.copytree(finished.folder.parent / "data", tmp_path / "runs" / "data")
    shutil.copytree(finished.folder, run.folder)
    shutil.rmtree(run.model)
    newest = run.checkpoints / "step-000000024"
    (newest / file).write_bytes(BYTES[content](mark))
    if file == "card.json":
        said = [str(event) for event in pipeline.events(run)]
        assert any("step-000000024 cannot be used and is set aside" in text for text in said)
    else:
        signed(newest)
        with pytest.raises(ZafuError, match="step-000000024"):
            list(pipeline.events(run))

    assert not mark.exists()


STATES = {
    "a field that is unknown": lambda s: s["state"].update(evil=1),
    "a field that is missing": lambda s: s["state"].pop("stale"),
    "a step that is text": lambda s: s["state"]["progress"].update(step="24"),
    "a step of another checkpoint": lambda s: s["state"]["progress"].update(step=25),
    "samples below 0": lambda s: s["state"]["progress"].update(samples=-5),
    "a progress that is a list": lambda s: s["state"].update(progress=[]),
    "no state": lambda s: s.pop("state"),
    "no update": lambda s: s.pop("update"),
    "an update that is a list": lambda s: s.update(update=[]),
    "unmoved that is a number": lambda s: s["update"].update(unmoved=5),
    "unmoved that holds lists": lambda s: s["update"].update(unmoved=[[1]]),
    "an average of text states": lambda s: s["update"].update(averaged="x"),
    "a best step that is text": lambda s: s["state"].update(best_step="x"),
    "a best step outside": lambda s: s["state"].update(best_step="../../../x"),
}


@pytest.mark.parametrize("harm", STATES)
def test_a_state_of_another_shape_is_refused(harm: str, finished: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "runs" / "evil", finished.recipe)
    shutil.copytree(finished.folder.parent / "data", tmp_path / "runs" / "data")
    shutil.copytree(finished.folder, run.folder)
    shutil.rmtree(run.model)
    newest = run.checkpoints / "step-000000024"
    state = json.loads((newest / "state.json").read_text())
    STATES[harm](state)
    (newest / "state.json").write_text(json.dumps(state))
    signed(newest)

    with pytest.raises(ZafuError, match=r"state|step-"):
        list(pipeline.events(run))


TENSORS = {
    "a tensor that is missing": lambda t: {n: x for n, x in t.items() if n != min(t)},
    "a tensor too many": lambda t: {**t, "evil": torch.ones(1)},
    "another shape": lambda t: {**t, min(t): torch.ones(7, 7)},
    "another type": lambda t: {**t, min(t): t[min(t)].to(torch.int64)},
}


@pytest.mark.parametrize("harm", TENSORS)
@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors"])
def test_tensors_of_another_shape_are_refused(
    harm: str, file: str, finished: Run, tmp_path: Path
) -> None:
    run = Run(tmp_path / "runs" / "evil", finished.recipe)
    shutil.copytree(finished.folder.parent / "data", tmp_path / "runs" / "data")
    shutil.copytree(finished.folder, run.folder)
    shutil.rmtree(run.model)
    newest = run.checkpoints / "step-000000024"
    save_file(TENSORS[harm](load_file(newest / file)), newest / file)
    signed(newest)

    with pytest.raises(ZafuError, match=r"step-000000024|state of the update"):
        list(pipeline.events(run))


@pytest.mark.parametrize("name", ["/dev/zero", "../../outside", "pipe", "link"])
def test_a_card_that_names_other_files_is_refused(name: str, finished: Run, tmp_path: Path) -> None:
    """A device would be read for ever."""
    folder = tmp_path / "model"
    shutil.copytree(finished.model, folder)
    (folder / "link").symlink_to("/dev/zero")
    signed(folder, extra={name: "0" * 64})

    with pytest.raises(ZafuError, match="expected"):
        pipeline.load_model(folder)


@pytest.mark.parametrize("content", ["an array of objects", "a pickle", "nothing", "null"])
def test_a_hostile_array_of_prepared_data_is_refused(
    content: str, finished: Run, tmp_path: Path
) -> None:
    data, mark = tmp_path / "data", tmp_path / "MARK"
    shutil.copytree(next(finished.folder.parent.glob("data/*/card.json")).parent, data)
    (data / "train" / "numbers.npy").write_bytes(BYTES[content](mark))

    with pytest.raises(ZafuError):
        finished.recipe.data.open(data, "train")

    assert not mark.exists()


def test_a_hostile_tokenizer_is_refused(tmp_path: Path) -> None:
    from zafu.tokenizers import encoder

    for content, made in BYTES.items():
        mark = tmp_path / "MARK"
        (tmp_path / "tokenizer.json").write_bytes(made(mark))

        with pytest.raises(ZafuError):  # noqa: PT012
            encoder.load(tmp_path)
            pytest.fail(content)

        assert not mark.exists()
