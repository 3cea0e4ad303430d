"""The exam of every tokenizer, on the standard library's own sources."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import models, pre_tokenizers
from transformers import AutoTokenizer

from zafu.data.files import find
from zafu.errors import DataError, RecipeError
from zafu.tokenizers.bpe import BPE
from zafu.tokenizers.contract import END, Encoder, Tokenizer
from zafu.tokenizers.encoder import Fast, General, dtype_of, load
from zafu.tokenizers.file import FileTokenizer
from zafu.tokenizers.sample import bounded
from zafu.tokenizers.unigram import Unigram

KINDS = sorted(Tokenizer.kinds())


@cache
def sources() -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8") for _, path in find(["stdlib:[b-d]*.py"]))


@cache
def folder(kind: str) -> Path:
    made = Path(mkdtemp())
    spec: dict[str, object] = {"kind": kind, "vocab": 500}
    if kind == "file":
        spec = {"kind": kind, "path": str(folder("bpe"))}
    Tokenizer.kinds()[kind].parse(spec).train(iter(sources()), made, context=64)
    return made


@cache
def encoder(kind: str) -> Encoder:
    return load(folder(kind))


@pytest.mark.parametrize("kind", KINDS)
@given(st.text(max_size=80))
@settings(deadline=None, max_examples=60)
def test_any_text_is_written_and_read_back_byte_by_byte(kind: str, text: str) -> None:
    (tokens,) = encoder(kind).encode([text])

    assert encoder(kind).decode(tokens.tolist()) == text
    assert encoder(kind).byte_lengths()[tokens].sum() == len(text.encode())


@pytest.mark.parametrize("kind", KINDS)
@given(st.text(max_size=80))
@settings(deadline=None, max_examples=60)
def test_tokens_are_those_of_the_stored_file_in_the_library(kind: str, text: str) -> None:
    """Parity with tokenizers: what the file means elsewhere is what it means here."""
    library = Library.from_file(str(folder(kind) / "tokenizer.json"))
    library.encode_special_tokens = True

    assert encoder(kind).encode([text])[0].tolist() == library.encode(text).ids


@pytest.mark.parametrize("kind", KINDS)
def test_whole_sources_have_the_tokens_that_transformers_gives(kind: str) -> None:
    hub = AutoTokenizer.from_pretrained(folder(kind))

    for text in sources()[:20]:
        assert encoder(kind).encode([text])[0].tolist() == hub(text)["input_ids"]
    assert (hub.eos_token, hub.eos_token_id) == (END, encoder(kind).end)


@pytest.mark.parametrize("kind", KINDS)
def test_text_that_spells_the_end_is_text(kind: str) -> None:
    (tokens,) = encoder(kind).encode([END])

    assert encoder(kind).end not in tokens
    assert encoder(kind).decode(tokens.tolist()) == END


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_training_twice_writes_the_same_bytes(kind: str, tmp_path: Path) -> None:
    Tokenizer.kinds()[kind].parse({"vocab": 500}).train(iter(sources()), tmp_path, context=64)

    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (folder(kind) / name).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_vocabulary_is_as_foreseen(kind: str) -> None:
    spec = {"path": str(folder("bpe"))} if kind == "file" else {"vocab": 500}

    assert Tokenizer.kinds()[kind].parse(spec).foreseen() == (500, encoder(kind).end)
    assert encoder(kind).size == 500


def test_byte_pairs_of_our_pattern_take_the_fast_way_and_others_do_not() -> None:
    assert isinstance(encoder("bpe"), Fast)
    assert isinstance(encoder("unigram"), General)


def test_more_tokens_spell_text_in_fewer(tmp_path: Path) -> None:
    BPE(vocab=2000).train(iter(sources()), tmp_path, context=64)
    text = "\n".join(sources()[:10])

    few, many = (len(e.encode([text])[0]) for e in (encoder("bpe"), load(tmp_path)))

    assert many < 0.8 * few


@pytest.mark.parametrize("kind", [BPE, Unigram])
def test_too_little_text_says_what_is_possible(kind: type[BPE], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gives only \d+ tokens, expected 5000: set data\.token"):
        kind.parse({"vocab": 5000}).train(iter(["a rose is a rose"]), tmp_path, context=8)


def test_a_large_vocabulary_needs_wider_numbers() -> None:
    assert (dtype_of(1 << 16), dtype_of((1 << 16) + 1)) == (np.uint16, np.uint32)


@given(st.lists(st.text(min_size=1, max_size=9), max_size=40), st.integers(1, 60))
def test_a_sample_is_bounded_and_evenly_spaced(texts: list[str], most: int) -> None:
    found = list(bounded(iter(texts), most))

    stride = next(s for s in (1, 2, 4, 8, 16, 32, 64) if texts[::s] == found)
    assert sum(map(len, found)) <= most or len(found) == 1
    assert stride == 1 or sum(map(len, texts[:: stride // 2])) > most


class TestFiles:
    def test_a_tokenizer_of_another_model_is_used_as_it_is(self, tmp_path: Path) -> None:
        library = Library(models.BPE())
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        library.add_special_tokens(["<end>"])
        path = tmp_path / "tokenizer.json"
        library.save(str(path))

        with pytest.raises(DataError, match=r"tokenizer\.end: .* found '<ende>'; did you mean <e"):
            FileTokenizer(path=str(path), end="<ende>").foreseen()
        assert FileTokenizer(path=str(tmp_path), end="<end>").foreseen() == (1, 0)

    def test_words_that_cannot_be_spelled_back_are_refused(self, tmp_path: Path) -> None:
        library = Library(models.WordLevel({"a": 0}, unk_token="a"))  # noqa: S106
        library.pre_tokenizer = pre_tokenizers.Whitespace()
        library.save(str(tmp_path / "tokenizer.json"))

        with pytest.raises(DataError, match=r"expected a byte-level tokenizer .* found Whitespace"):
            FileTokenizer(path=str(tmp_path)).foreseen()

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"model": {"vocab": 3}}', "null"])
    def test_what_is_no_tokenizer_is_refused(self, content: str, tmp_path: Path) -> None:
        (tmp_path / "tokenizer.json").write_text(content)

        with pytest.raises(DataError, match=r"expected a tokenizer\.json"):
            FileTokenizer(path=str(tmp_path)).foreseen()


def test_a_vocabulary_without_every_byte_is_refused() -> None:
    with pytest.raises(RecipeError, match="257"):
        BPE.parse({"vocab": 256})


def test_the_file_lists_every_pair_that_spells_a_token() -> None:
    model = json.loads((folder("bpe") / "tokenizer.json").read_text())["model"]
    spelled = {left + right for left, right in model["merges"]}

    assert spelled == {token for token in model["vocab"] if len(token) > 1} - {END}
