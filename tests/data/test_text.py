import json
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from zafu.data.files import find
from zafu.data.text import Text
from zafu.errors import Damaged, DataError, RecipeError
from zafu.loading.order import Order
from zafu.signature import Signature, Tokens
from zafu.tokenizers.encoder import load
from zafu.work import Pool, Work

SMALL = ("stdlib:[b-c]*.py",)
TASK = "language-modeling"
SPLITS = ("train", "validation", "test")


def text(vocab: int = 400, **settings: object) -> Text:
    plain = {"files": SMALL, "tokenizer": {"kind": "bpe", "vocab": vocab}, "context": 64}
    return Text.parse({**plain, **settings})


def prepared(folder: Path, data: Text, seed: int = 0) -> Path:
    folder.mkdir()
    data.prepare(folder, task=TASK, seed=seed, work=Work(folder.with_suffix(".work")))
    return folder


def said(folder: Path) -> dict:
    return json.loads((folder / "prepare.json").read_text())


def removed(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "removed.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("text") / "prepared", text())


def raw(folder: Path, split: str) -> list[bytes]:
    documents = text().documents(folder)
    assert documents
    return list(documents(split))


def test_documents_are_the_files_dealt_out_in_the_order_of_their_names(library: Path) -> None:
    files = [path.read_bytes() for _, path in find(SMALL)]

    splits = [raw(library, split) for split in ("train", "validation", "test")]

    assert sorted(chain(*splits)) == sorted(files)
    assert all(split == [file for file in files if file in split] for split in splits)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_held_out_windows_predict_every_byte_exactly_once(library: Path, split: str) -> None:
    windows = text().open(library, split)
    ids = np.arange(len(windows))
    batch = windows.batch(ids)
    documents = raw(library, split)

    counted = batch.targets[batch.targets >= 0]

    decoded = load(library / "transform").decode(counted.tolist())
    assert decoded.encode() == b"".join(documents)
    assert (counted == 0).sum() == len(documents)
    assert windows.units(ids) == sum(map(len, documents))
    assert windows.count(ids) == len(counted)


def test_each_target_is_the_token_after_its_input(library: Path) -> None:
    windows = text().open(library, "test")

    batch = windows.batch(np.arange(len(windows)))

    assert batch.inputs[0][0, 0] == 0
    assert torch.equal(batch.inputs[0][:, 1:][:-1], batch.targets[:, :-1][:-1])
    seen = batch.targets[-1] < 0  # only the last window goes back over what was predicted
    assert seen.any()
    assert not (batch.targets[:-1] < 0).any()
    assert torch.equal(batch.inputs[0][-1, 1:][~seen[:-1]], batch.targets[-1, :-1][~seen[:-1]])


def test_training_leaves_out_less_than_a_window(library: Path) -> None:
    windows = text().open(library, "train")
    ids = np.arange(len(windows))

    left = sum(map(len, raw(library, "train"))) - windows.units(ids)

    assert windows.count(ids) == 64 * len(windows)
    assert 0 <= left < 64 * load(library / "transform").byte_lengths().max()


def test_a_text_shorter_than_a_window_is_one_window(library: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_bytes(b"import this")

    batch, names = text().encode(library / "transform", tmp_path / "short.txt")

    targets = batch.targets[batch.targets >= 0].tolist()
    assert load(library / "transform").decode(targets) == "import this"
    assert targets[-1] == 0
    assert batch.inputs[0].shape == (1, 64)
    assert names == ["short.txt bytes 0-11"]


def test_a_file_is_encoded_as_the_same_text_in_a_split_was(library: Path, tmp_path: Path) -> None:
    first = raw(library, "test")[0]
    (tmp_path / "new.py").write_bytes(first)

    batch, names = text().encode(library / "transform", tmp_path / "new.py")

    stored = text().open(library, "test").batch(np.arange(len(names) - 1))
    assert torch.equal(batch.inputs[0][:-1], stored.inputs[0])
    assert names[-1].endswith(f"-{len(first)}")


def test_an_empty_file_has_nothing_to_encode(library: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()

    with pytest.raises(DataError, match="expected text, found none"):
        text().encode(library / "transform", tmp_path / "empty.txt")


def test_another_process_with_other_threads_writes_the_same_bytes(
    library: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from zafu.data.text import Text;"
        "from zafu.source import parse_yaml; from zafu.work import Pool, Work;"
        "folder = Path(sys.argv[1]); folder.mkdir();"
        "data = Text.parse(parse_yaml(sys.argv[2]).data);"
        "work = Work(folder.with_suffix('.w'));"
        "data.prepare(folder, task='language-modeling', seed=0, work=work)"
    )
    environment = {"TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code, str(tmp_path / "x"), json.dumps(text().dump())]

    subprocess.run(command, env=environment, check=True)

    assert contents(tmp_path / "x") == contents(library)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_removing_a_held_out_document_changes_nothing_else(tmp_path: Path) -> None:
    for name, path in find(SMALL):
        (tmp_path / name).write_bytes(path.read_bytes())
    data = text(files=[f"{tmp_path}/*.py"])
    before = prepared(tmp_path / "before", data)
    victim = raw(before, "test")[0]
    next(f for f in tmp_path.glob("*.py") if f.read_bytes() == victim).unlink()

    after = prepared(tmp_path / "after", data)

    for name in ("transform/tokenizer.json", "train/tokens.npy", "validation/tokens.npy"):
        assert (after / name).read_bytes() == (before / name).read_bytes()
    assert raw(after, "test") == raw(before, "test")[1:]


def test_copies_and_empty_files_are_dropped_and_counted(tmp_path: Path) -> None:
    for name, path in find(SMALL):
        (tmp_path / name).write_bytes(path.read_bytes())
        (tmp_path / f"copy_of_{name}").write_bytes(path.read_bytes())
    (tmp_path / "empty.py").touch()

    folder = prepared(tmp_path / "prepared", text(files=[f"{tmp_path}/*.py"]))

    report, count = said(folder), len(find(SMALL))
    assert report["dropped"] == {"read": 1, "duplicates": count}
    assert (report["in"], report["out"]) == (2 * count + 1, count)
    assert [row["id"] for row in removed(folder) if row["reason"] == "empty"] == ["empty.py"]
    pairs = [(row["id"], row["twin"]) for row in removed(folder) if "twin" in row]
    assert all(twin == f"copy_of_{name}" or name == f"copy_of_{twin}" for name, twin in pairs)


def test_a_file_can_hold_many_documents(tmp_path: Path) -> None:
    documents = [path.read_text() for _, path in find(SMALL)]
    (tmp_path / "all.txt").write_text("\n%%\n".join(documents))
    data = text(files=[f"{tmp_path}/all.txt"], delimiter="\n%%\n")

    folder = prepared(tmp_path / "prepared", data)

    found = chain(*(raw(folder, split) for split in ("train", "validation", "test")))
    assert sorted(found) == sorted(document.encode() for document in documents)
    assert data.samples_foreseen(data.sources()) is None
    assert text().samples_foreseen(text().sources()) == len(documents)


def test_every_file_that_is_not_utf8_is_named_with_its_byte(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("naïve".encode("latin-1"))
    (tmp_path / "b.txt").write_bytes(b"fine")
    (tmp_path / "c.txt").write_bytes(b"cut \xc3")

    with pytest.raises(DataError) as error:
        prepared(tmp_path / "x", text(files=[f"{tmp_path}/*.txt"]))

    assert "a.txt" in str(error.value)
    assert "c.txt" in str(error.value)
    assert str(error.value).count("expected UTF-8") == 2
    assert "b.txt" not in str(error.value)


def test_too_little_text_for_the_vocabulary_says_what_is_possible(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{i}.txt").write_text(f"{i}: spam spam spam eggs and spam")

    with pytest.raises(DataError, match=r"gives only \d+ tokens, expected 2048: set data"):
        prepared(tmp_path / "x", text(2048, files=[f"{tmp_path}/*.txt"]))


def test_too_little_text_for_a_window_says_what_is_expected(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{i}.txt").write_text(f"{i}")
    data = text(257, files=[f"{tmp_path}/*.txt"], context=1000)

    with pytest.raises(DataError, match=r"has \d+ tokens, expected at least 1001"):
        prepared(tmp_path / "prepared", data)


@pytest.mark.parametrize(
    ("name", "value"), [("vocab", 256), ("context", 0), ("files", []), ("packing", "tight")]
)
def test_a_value_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(RecipeError, match=name):
        text(**{name: value})


def test_the_signature_is_foreseen_without_reading() -> None:
    assert Text(files=("nowhere/*.txt",)).foreseen(TASK) == Signature(
        inputs=Tokens(vocab=2048, context=256), outputs=2048
    )


def test_a_damaged_array_is_never_read(library: Path, tmp_path: Path) -> None:
    folder = prepared(tmp_path / "prepared", text())
    (folder / "test" / "tokens.npy").write_bytes(b"\x80\x04not an array")

    with pytest.raises(Damaged, match=r"tokens\.npy"):
        text().open(folder, "test")


def library_and(folder: Path, **documents: str) -> list[str]:
    """The small library as jsonl beside some documents of one's own."""
    rows = [{"text": p.read_text(), "name": n, "first": n[0]} for n, p in find(SMALL)]
    rows += [{"text": t, "name": n, "first": n[0]} for n, t in documents.items()]
    pl.DataFrame(rows).write_ndjson(folder / "rows.jsonl")
    return [f"{folder}/rows.jsonl"]


def test_what_cleaning_removes_is_aside_and_put_back_by_one_line(tmp_path: Path) -> None:
    files = library_and(tmp_path, spam="buy now " * 9)
    steps = ["unicode", "control", "gopher"]
    data = text(files=files, clean=steps)

    folder = prepared(tmp_path / "without", data)
    out = removed(folder)
    spam = next(row for row in out if row["content"].startswith("buy now"))
    back = prepared(tmp_path / "with", data.at("keep", [spam["id"]]))

    assert [step["step"] for step in said(folder)["steps"]] == ["read", *steps, "duplicates"]
    assert said(folder)["in"] == said(folder)["out"] + len(out)
    assert said(back)["out"] == said(folder)["out"] + 1
    assert spam["id"] not in [row["id"] for row in removed(back)]
    assert any(d.startswith(b"buy now") for s in SPLITS for d in raw(back, s))


def test_near_duplicates_go_or_stay_together(tmp_path: Path) -> None:
    origin = Path(dict(find(SMALL))["calendar.py"]).read_text()
    files = library_and(tmp_path, **{f"near{i}": f"# {i}\n{origin}" for i in range(8)})
    near = {"threshold": 0.8}

    gone = prepared(tmp_path / "gone", text(files=files, duplicates={"near": near}))
    stay = prepared(tmp_path / "stay", text(files=files))

    assert said(gone)["dropped"]["duplicates"] == 8
    assert {row["reason"] for row in removed(gone)} == {"near duplicate"}
    assert said(stay)["out"] == said(gone)["out"] + 8
    assert all(leak["exact"]["count"] == 0 for leak in said(stay)["leaks"].values())


def test_groups_are_dealt_whole(tmp_path: Path) -> None:
    files = library_and(tmp_path)
    split = {"by": "group", "column": "first", "validation": 0, "test": 0.5}

    folder = prepared(tmp_path / "x", text(files=files, split=split))

    documents = {p.read_bytes(): n[0] for n, p in find(SMALL)}
    firsts = [{documents[d] for d in raw(folder, s)} for s in ("train", "test")]
    assert sorted(chain(*firsts)) == ["b", "c"]


def test_a_mixture_draws_from_its_sources_by_weight(tmp_path: Path) -> None:
    sources = [{"files": ["stdlib:[b]*.py"], "weight": 3}, {"files": ["stdlib:c*.py"], "weight": 1}]
    data = text(files=(), mixture=sources)

    folder = prepared(tmp_path / "x", data)
    train = data.open(folder, "train")
    order = Order(len(train), 0, train.portions)
    ids = order.positions(0, 4000)

    first = train.portions[0].samples
    assert sum(p.samples for p in train.portions) == len(train)
    assert (ids < first).mean() == pytest.approx(0.75, abs=0.001)
    batch = train.batch(np.array([0, first, len(train) - 1]))
    assert torch.equal(batch.inputs[0][:, 1:], batch.targets[:, :-1])
    assert batch.inputs[0][:2, 0].tolist() == [0, 0]  # each source begins with END


@pytest.mark.parametrize("packing", ["stream", "best-fit"])
def test_every_packing_predicts_every_held_out_byte_once(packing: str, tmp_path: Path) -> None:
    data = text(packing=packing, context=512)

    folder = prepared(tmp_path / "x", data)

    for split in ("validation", "test"):
        windows = data.open(folder, split)
        ids = np.arange(len(windows))
        targets = windows.batch(ids).targets
        spelled = load(folder / "transform").byte_lengths()[targets[targets >= 0]]
        assert spelled.sum() == windows.units(ids) == sum(map(len, raw(folder, split)))
        assert windows.count(ids) == len(spelled)


def test_a_pool_writes_the_same_bytes_and_a_second_try_goes_on(tmp_path: Path) -> None:
    mixture = [{"files": [f"stdlib:{x}*.py"]} for x in "bcdefgh"]
    data = text(files=(), mixture=mixture, clean=["unicode"])
    alone = prepared(tmp_path / "alone", data)
    notes: list[str] = []
    folder = tmp_path / "pool"

    for name in (folder, tmp_path / "again"):
        name.mkdir()
        work = Work(tmp_path / "work", Pool(2), notes.append)
        data.prepare(name, task=TASK, seed=0, work=work)

    assert contents(folder) == contents(alone) == contents(tmp_path / "again")
    assert notes == [f"{step}: {i} of 7" for step in ("clean", "tokenize") for i in range(1, 8)]


def test_what_training_knows_of_the_test_fails_the_preparation(tmp_path: Path) -> None:
    files = library_and(tmp_path, **{f"b{i}": "the same words again " * 9 for i in range(40)})
    data = text(files=files, duplicates={"exact": False}, split={"by": "random"})

    with pytest.raises(DataError, match=r"data\.leaks\.exact: expected at most 0 of the"):
        prepared(tmp_path / "x", data)

    folder = prepared(tmp_path / "y", data.at("leaks.exact", None))
    assert said(folder)["leaks"]["test"]["exact"]["count"] > 0
