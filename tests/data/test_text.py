import hashlib
import json
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from zafu.data import tokenizer
from zafu.data.files import find
from zafu.data.text import Text
from zafu.errors import Damaged, DataError, RecipeError
from zafu.signature import Signature, Tokens
from zafu.work import Work

SMALL = ("stdlib:[b-c]*.py",)
TASK = "language-modeling"


def text(**settings: object) -> Text:
    return Text.parse({"files": SMALL, "vocab": 400, "context": 64, **settings})


def prepared(folder: Path, data: Text, seed: int = 0) -> Path:
    folder.mkdir()
    data.prepare(folder, task=TASK, seed=seed, work=Work(folder / "../work"))
    return folder


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

    decoded = tokenizer.load(library / "transform").decode(
        counted.tolist(), skip_special_tokens=False
    )
    assert decoded.encode() == b"".join(d + tokenizer.END.encode() for d in documents)
    assert windows.units(ids) == sum(map(len, documents))
    assert windows.count(ids) == len(counted)


def test_each_target_is_the_token_after_its_input(library: Path) -> None:
    windows = text().open(library, "test")

    batch = windows.batch(np.arange(len(windows)))

    assert batch.inputs[0][0, 0] == tokenizer.END_ID
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
    assert 0 <= left < 64 * max(map(len, Tokenizer.from_file(file_of(library)).get_vocab()))


def file_of(folder: Path) -> str:
    return str(folder / "transform" / "tokenizer.json")


def test_a_text_shorter_than_a_window_is_one_window(library: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_bytes(b"import this")

    batch, names = text().encode(library / "transform", tmp_path / "short.txt")

    targets = batch.targets[batch.targets >= 0].tolist()
    bpe = tokenizer.load(library / "transform")
    assert bpe.decode(targets, skip_special_tokens=False) == "import this" + tokenizer.END
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


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_the_tokenizer_writes_any_text_and_counts_its_bytes(library: Path, words: str) -> None:
    bpe = tokenizer.load(library / "transform")

    tokens = tokenizer.stream(bpe, [words])

    assert bpe.decode(tokens[1:-1].tolist(), skip_special_tokens=False) == words
    assert tokenizer.byte_lengths(bpe)[tokens].sum() == len(words.encode())


def test_text_that_spells_the_end_token_is_text(library: Path) -> None:
    bpe = tokenizer.load(library / "transform")

    tokens = tokenizer.stream(bpe, [tokenizer.END])

    assert (tokens == tokenizer.END_ID).sum() == 2
    assert tokenizer.byte_lengths(bpe)[tokens].sum() == len(tokenizer.END)


def test_the_hub_loads_the_same_tokenizer(library: Path) -> None:
    """Parity with transformers and with tokenizers on held-out text."""
    document = raw(library, "test")[0].decode()
    ours = tokenizer.stream(tokenizer.load(library / "transform"), [document])[1:-1].tolist()

    hub = AutoTokenizer.from_pretrained(library / "transform")

    assert hub.encode(document, add_special_tokens=False) == ours
    assert Tokenizer.from_file(file_of(library)).encode(document).ids == ours
    assert hub.decode(ours) == document
    assert (hub.eos_token, hub.eos_token_id, len(hub)) == (tokenizer.END, 0, 400)


def test_training_in_another_process_with_one_thread_gives_the_same_file(library: Path) -> None:
    code = (
        "import sys, hashlib; from zafu.data import tokenizer; from zafu.data.text import Text;"
        "from pathlib import Path; folder = Path(sys.argv[1]);"
        "texts = [d.decode() for d in Text().documents(folder)('train')];"
        "found = tokenizer.train(texts, 400).to_str(pretty=True).encode();"
        "print(hashlib.sha256(found).hexdigest())"
    )
    environment = {"TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "7"}

    found = subprocess.run(
        [sys.executable, "-c", code, str(library)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.strip() == hashlib.sha256(Path(file_of(library)).read_bytes()).hexdigest()


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

    report = json.loads((folder / "prepare.json").read_text())
    count = len(find(SMALL))
    assert report["dropped"] == {"empty": 1, "duplicate": count}
    assert (report["in"], report["out"]) == (2 * count + 1, count)


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
        text(files=[f"{tmp_path}/*.txt"]).prepare(
            tmp_path, task=TASK, seed=0, work=Work(tmp_path / "../work")
        )

    assert "a.txt: expected UTF-8, found ef at byte 2" in str(error.value)
    assert "c.txt: expected UTF-8, found c3 at byte 4" in str(error.value)
    assert "b.txt" not in str(error.value)


def test_too_little_text_for_the_vocabulary_says_what_is_possible(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{i}.txt").write_text(f"{i}: spam spam spam eggs and spam")

    with pytest.raises(DataError, match=r"gives only \d+ tokens, expected 2048: set data\.vocab"):
        prepared(tmp_path / "x", text(files=[f"{tmp_path}/*.txt"], vocab=2048))


def test_too_little_text_for_a_window_says_what_is_expected(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{i}.txt").write_text(f"{i}")
    data = text(files=[f"{tmp_path}/*.txt"], vocab=257, context=1000)

    with pytest.raises(DataError, match=r"has \d+ tokens, expected at least 1001"):
        prepared(tmp_path / "prepared", data)


@pytest.mark.parametrize(
    ("name", "value"), [("vocab", 256), ("vocab", 65537), ("context", 0), ("files", [])]
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
