"""The exam that every kind of data sits, on real data."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_wine

from zafu.data.contract import SPLITS, Data
from zafu.errors import DataError, RecipeError
from zafu.signature import Columns, Pixels, Signature, Tokens
from zafu.task import Task
from zafu.work import Work


def text(folder: Path) -> dict[str, object]:
    return {
        "kind": "text",
        "files": ["stdlib:[b-c]*.py"],
        "tokenizer": {"kind": "bpe", "vocab": 300},
        "context": 64,
    }


def table(folder: Path) -> dict[str, object]:
    wine = load_wine()
    rows = pl.DataFrame(wine.data, schema=wine.feature_names)
    rows.with_columns(target=pl.Series(wine.target)).write_csv(folder / "wine.csv")
    return {"kind": "table", "files": [f"{folder}/wine.csv"], "target": "target"}


def images(folder: Path) -> dict[str, object]:
    digits = load_digits()
    for i in range(200):
        file = folder / "pictures" / str(digits.target[i]) / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[i] * 15).astype(np.uint8)).save(file)
    return {"kind": "images", "folder": f"{folder}/pictures", "size": [10, 12], "color": "gray"}


def digits(folder: Path) -> dict[str, object]:
    return {"kind": "digits"}


EXAMPLES: dict[str, Callable[[Path], dict[str, object]]] = {
    "text": text,
    "table": table,
    "images": images,
    "digits": digits,
}
KINDS = sorted(Data.kinds())


class Prepared:
    def __init__(self, kind: str, folder: Path) -> None:
        self.raw = {**EXAMPLES[kind](folder), "split": {"validation": 0.2, "test": 0.2}}
        self.data = Data.kinds()[kind].parse(self.raw)
        self.task = "language-modeling" if kind == "text" else "classification"
        self.folder = self.prepare(folder / "prepared")

    def prepare(self, folder: Path, seed: int = 0) -> Path:
        folder.mkdir()
        self.data.prepare(folder, task=self.task, seed=seed, work=Work(folder / "../work"))
        return folder


@pytest.fixture(scope="module", params=KINDS)
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared(request.param, tmp_path_factory.mktemp(request.param))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def samples(prepared: Prepared, split: str) -> list[bytes]:
    opened = prepared.data.open(prepared.folder, split)
    batch = opened.batch(np.arange(len(opened)))
    parts = [x.flatten(1).numpy() for x in batch.inputs]
    return [b"".join(p[i].tobytes() for p in parts) for i in range(len(opened))]


def test_every_kind_sits_the_exam() -> None:
    assert sorted(EXAMPLES) == KINDS


def test_kinds_are_known_without_loading_what_they_work_with() -> None:
    code = (
        "import sys; from zafu.data.contract import Data; Data.kinds();"
        "heavy = ('torch', 'polars', 'sklearn', 'PIL', 'tokenizers');"
        "print([name for name in heavy if name in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_it_prints_and_parses(prepared: Prepared) -> None:
    assert type(prepared.data).parse(json.loads(json.dumps(prepared.data.dump()))) == prepared.data


def test_an_unknown_key_is_refused(prepared: Prepared) -> None:
    with pytest.raises(RecipeError, match="shuffle"):
        type(prepared.data).parse({**prepared.raw, "shuffle": True})


def test_it_serves_tasks_that_there_are(prepared: Prepared) -> None:
    assert prepared.data.tasks <= set(Task.kinds())


def test_preparing_twice_gives_the_same_bytes(prepared: Prepared, tmp_path: Path) -> None:
    again = prepared.prepare(tmp_path / "again")

    assert contents(again) == contents(prepared.folder)


def test_another_seed_deals_otherwise(prepared: Prepared, tmp_path: Path) -> None:
    other = prepared.prepare(tmp_path / "other", seed=1)

    assert contents(other) != contents(prepared.folder)


def test_what_came_in_went_out_or_was_dropped_for_a_reason(prepared: Prepared) -> None:
    report = json.loads((prepared.folder / "prepare.json").read_text())

    assert report["in"] == report["out"] + sum(report["dropped"].values())
    assert report["out"] == sum(report["splits"].values())
    assert all(report["splits"][split] for split in SPLITS)


def test_no_sample_is_in_two_splits(prepared: Prepared) -> None:
    if prepared.data.kind == "text":
        read = prepared.data.documents(prepared.folder)
        assert read
        splits = [set(read(split)) for split in SPLITS]
    else:
        splits = [set(samples(prepared, split)) for split in SPLITS]

    assert not splits[0] & splits[1]
    assert not splits[0] & splits[2]
    assert not splits[1] & splits[2]


def test_a_batch_is_what_the_signature_says(prepared: Prepared) -> None:
    signature = Signature.parse(json.loads((prepared.folder / "signature.json").read_text()))
    foreseen = prepared.data.foreseen(prepared.task)
    ids = np.array([2, 0, 1])

    for split in SPLITS:
        batch = prepared.data.open(prepared.folder, split).batch(ids)

        assert foreseen is None or foreseen == signature
        assert batch.ids is ids
        kinds = [(tuple(x.shape), x.dtype) for x in batch.inputs]
        match signature.inputs:
            case Tokens(context=context, vocab=vocab):
                assert kinds == [((3, context), torch.int64)]
                assert int(batch.inputs[0].max()) < vocab == signature.outputs
                assert batch.targets.shape == (3, context)
            case Pixels(channels=channels, height=height, width=width):
                assert kinds == [((3, channels, height, width), torch.float32)]
            case Columns(numbers=numbers, categories=sizes):
                assert kinds == [((3, numbers), torch.float32), ((3, len(sizes)), torch.int64)]
        if signature.labels:
            assert len(signature.labels) == signature.outputs
            assert batch.targets.shape == (3,)
        assert batch.targets.dtype == torch.int64
        assert int(batch.targets.max()) < signature.outputs


def test_counts_and_units_add_up(prepared: Prepared) -> None:
    for split in SPLITS:
        opened = prepared.data.open(prepared.folder, split)
        ids = np.arange(len(opened))

        counts = [opened.count(ids[i : i + 1]) for i in range(len(ids))]

        assert sum(counts) == opened.count(ids)
        assert sum(opened.units(ids[i : i + 1]) for i in range(len(ids))) == opened.units(ids)
        assert counts == (opened.batch(ids).targets.view(len(ids), -1) >= 0).sum(1).tolist()


def test_a_batch_is_its_samples_one_by_one(prepared: Prepared) -> None:
    opened = prepared.data.open(prepared.folder, "test")
    ids = np.array([len(opened) - 1, 0, len(opened) - 1])

    together = opened.batch(ids)

    for place, index in enumerate(ids):
        alone = opened.batch(np.array([index]))
        assert torch.equal(together.targets[place], alone.targets[0])
        for whole, one in zip(together.inputs, alone.inputs, strict=True):
            assert torch.equal(whole[place], one[0])


def test_a_batch_can_be_changed_without_changing_the_data(prepared: Prepared) -> None:
    opened = prepared.data.open(prepared.folder, "train")
    first = opened.batch(np.arange(2))
    expected = [x.clone() for x in (*first.inputs, first.targets)]

    for tensor in (*first.inputs, first.targets):
        tensor.zero_()

    second = opened.batch(np.arange(2))
    assert all(map(torch.equal, expected, (*second.inputs, second.targets)))


def test_a_position_outside_a_split_is_refused(prepared: Prepared) -> None:
    opened = prepared.data.open(prepared.folder, "train")

    with pytest.raises(IndexError):
        opened.batch(np.array([len(opened)]))


def test_a_split_that_there_is_not_is_refused(prepared: Prepared) -> None:
    with pytest.raises(DataError, match="train, validation, test, found 'dev'"):
        prepared.data.open(prepared.folder, "dev")


def test_splits_without_a_share_are_empty(prepared: Prepared, tmp_path: Path) -> None:
    data = type(prepared.data).parse({**prepared.raw, "split": {"validation": 0, "test": 0}})
    data.prepare(tmp_path, task=prepared.task, seed=0, work=Work(tmp_path / "../work"))

    assert len(data.open(tmp_path, "train")) > 0
    assert [len(data.open(tmp_path, split)) for split in ("validation", "test")] == [0, 0]
