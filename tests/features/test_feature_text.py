"""Texts as terms, hashes and means of a model's last layer; docstrings of the standard library."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModel,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
    T5Config,
    T5Model,
    ViTConfig,
    ViTModel,
)

from zafu.data.files import find
from zafu.errors import Damaged, DataError, RecipeError
from zafu.features.embedding import Embedding
from zafu.features.hashed_ngrams import HashedNgrams, runs
from zafu.features.tf_idf import TfIdf

TARGET = pl.Series("target", [], dtype=pl.Float64)  # these kinds learn nothing of it


@cache
def docs() -> pl.DataFrame:
    """The docstrings of modules: real English with code in it."""
    files = find(["stdlib:[a-h]*.py"])
    texts = (ast.get_docstring(ast.parse(path.read_bytes())) for _, path in files)
    return pl.DataFrame({"doc": [text for text in texts if text]})


def values(feature: TfIdf | HashedNgrams, rows: pl.DataFrame) -> np.ndarray:
    return feature.apply(feature.fit(rows, TARGET, seed=0), rows).to_numpy()


@pytest.mark.parametrize("ngrams", [(1, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("min_count", [1, 3])
def test_tf_idf_is_scikit_learns(ngrams: tuple[int, int], min_count: int) -> None:
    sklearn = TfidfVectorizer(ngram_range=ngrams, min_df=min_count)
    expected = sklearn.fit_transform(docs()["doc"].to_list()).toarray()
    feature = TfIdf(column="doc", ngrams=ngrams, min_count=min_count, most=65536)

    found = feature.apply(feature.fit(docs(), TARGET, seed=0), docs())

    assert found.columns == [f"doc:{term}" for term in sklearn.get_feature_names_out()]
    assert np.allclose(found.to_numpy(), expected, rtol=0, atol=1e-14)


def test_tf_idf_of_new_texts_is_scikit_learns() -> None:
    train, new = docs()[:30], docs()[30:]
    sklearn = TfidfVectorizer(min_df=2, lowercase=False).fit(train["doc"].to_list())
    feature = TfIdf(column="doc", lowercase=False)

    found = feature.apply(feature.fit(train, TARGET, seed=0), new)

    expected = sklearn.transform(new["doc"].to_list()).toarray()
    assert np.allclose(found.to_numpy(), expected, rtol=0, atol=1e-14)


def test_the_terms_in_most_texts_stay_and_the_alphabet_breaks_ties() -> None:
    words = [set(re.findall(r"\b\w\w+\b", text.lower())) for text in docs()["doc"]]
    counts = Counter(word for text in words for word in text)
    best = sorted(counts, key=lambda word: (-counts[word], word))[:37]
    feature = TfIdf(column="doc", most=37)

    state = feature.fit(docs(), TARGET, seed=0)

    assert state["terms"].tolist() == sorted(best)


@given(st.lists(st.text(st.sampled_from("ab AB\n.é_1"), max_size=12), min_size=1, max_size=12))
@settings(deadline=None, max_examples=50)
def test_each_text_with_a_known_term_has_length_1(texts: list[str]) -> None:
    rows = pl.DataFrame({"t": [*texts, "aa bb", None]}, schema={"t": pl.String})

    length = np.linalg.norm(values(TfIdf(column="t", min_count=1), rows), axis=1)

    has = [bool(re.search(r"\b\w\w+\b", text)) for text in texts]
    assert np.allclose(length, [*has, True, False])


def test_blocks_of_texts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features = (TfIdf(column="doc"), HashedNgrams(column="doc", of="letters", ngrams=(1, 3)))
    whole = [values(feature, docs()) for feature in features]
    monkeypatch.setattr("zafu.features.words.ROWS", 7)

    parts = [values(feature, docs()) for feature in features]

    assert all(np.array_equal(one, other) for one, other in zip(whole, parts, strict=True))


def test_words_that_are_data_are_passed_over() -> None:
    rows = pl.DataFrame({"t": [f"key {'A' * 101} end", "key end"] * 2})

    state = TfIdf(column="t").fit(rows, TARGET, seed=0)

    assert state["terms"].tolist() == ["end", "key"]


def test_no_term_in_enough_texts_is_refused() -> None:
    rows = pl.DataFrame({"t": ["one", "two", None]})

    with pytest.raises(DataError, match=r"expected a term in 2 .*found none among 2 terms"):
        TfIdf(column="t").fit(rows, TARGET, seed=0)


@pytest.mark.parametrize("kind", [TfIdf, HashedNgrams])
def test_ngrams_go_from_short_to_long(kind: type[TfIdf]) -> None:
    with pytest.raises(RecipeError, match="ngrams: expected the shortest and then the longest"):
        kind.parse({"column": "t", "ngrams": [2, 1]})


@pytest.mark.parametrize(
    ("of", "analyzer", "ngrams"), [("words", "word", (1, 3)), ("letters", "char", (2, 4))]
)
def test_runs_are_as_many_and_as_different_as_scikit_learns(
    of: str, analyzer: str, ngrams: tuple[int, int]
) -> None:
    sklearn = CountVectorizer(analyzer=analyzer, ngram_range=ngrams)
    expected = sklearn.fit_transform(docs()["doc"].to_list()).astype(np.int64)
    feature = HashedNgrams.parse({"column": "doc", "of": of, "ngrams": ngrams})

    row, hashes = runs(*feature.units(docs()["doc"]), ngrams)

    known, place = np.unique(hashes, return_inverse=True)
    found = csr_array((np.ones(len(row), np.int64), (row, place)), (docs().height, len(known)))
    assert found.shape == expected.shape
    # equal inner products: the same counts but for the order of columns
    assert np.array_equal((found @ found.T).toarray(), (expected @ expected.T).toarray())


def test_hashed_ngrams_are_signed_sums_of_length_1() -> None:
    feature = HashedNgrams(column="doc", ngrams=(1, 2), buckets=13)
    expected = np.zeros((docs().height, 13))
    for row, value in zip(*runs(*feature.units(docs()["doc"]), (1, 2)), strict=True):
        expected[row, int(value) % 13] += -1 if int(value) >> 63 else 1
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)

    found = values(feature, docs())

    assert np.allclose(found, expected, rtol=0, atol=1e-14)


def test_signs_of_runs_are_even() -> None:
    found = values(HashedNgrams(column="doc", buckets=4096), docs())

    assert abs(np.sign(found).sum()) < 0.05 * np.abs(np.sign(found)).sum()


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small causal language model without a token for padding."""
    folder = tmp_path_factory.mktemp("gpt")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    told = {"vocab_size": 300, "show_progress": False}
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, **told)
    tokenizer.train_from_iterator(docs()["doc"], trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=0
    )
    GPT2Model(config).save_pretrained(folder)
    return folder


def test_an_embedding_is_the_mean_of_the_last_layer_of_each_text_alone(gpt: Path) -> None:
    rows = docs().head(20)
    feature = Embedding(column="doc", path=str(gpt), batch=6)
    model = AutoModel.from_pretrained(gpt).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(gpt)

    found = feature.apply(feature.fit(rows, TARGET, seed=0), rows)

    with torch.inference_mode():
        ids = (torch.tensor([tokenizer(text)["input_ids"][:64]]) for text in rows["doc"])
        expected = [model(each).last_hidden_state.mean(1)[0].numpy() for each in ids]
    assert found.columns == [f"doc.{i}" for i in range(16)]
    assert np.allclose(found.to_numpy(), np.stack(expected), rtol=0, atol=1e-5)


def test_texts_that_are_empty_or_missing_are_0(gpt: Path) -> None:
    rows = pl.DataFrame({"t": ["", None, "word"], "n": [1.0, 2.0, 3.0]})
    feature = Embedding(column="t", path=str(gpt), keep=True)

    found = feature.apply(feature.fit(rows, TARGET, seed=0), rows)

    assert found.columns[:2] == ["t", "n"]
    assert found.drop("t", "n").to_numpy().any(1).tolist() == [False, False, True]


def test_a_model_that_changed_since_the_fit_is_refused(gpt: Path, tmp_path: Path) -> None:
    for file in gpt.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    feature, rows = Embedding(column="doc", path=str(tmp_path)), docs().head(2)
    state = feature.fit(rows, TARGET, seed=0)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")

    with pytest.raises(DataError, match="expected the model as it was when this was fitted"):
        feature.apply(state, rows)


def test_folders_that_do_not_hold_a_model_of_texts_are_refused(tmp_path: Path) -> None:
    rows = docs().head(2)
    feature = Embedding(column="doc", path=str(tmp_path))

    with pytest.raises(DataError, match=r"expected a folder with a config\.json"):
        feature.fit(rows, TARGET, seed=0)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(DataError, match=r"expected weights in \*\.safetensors"):
        feature.fit(rows, TARGET, seed=0)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(Damaged, match="expected a model of transformers"):
        feature.apply(feature.fit(rows, TARGET, seed=0), rows)


def test_models_that_want_more_than_a_text_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    few = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2}
    vision = ViTModel(ViTConfig(image_size=8, patch_size=4, intermediate_size=8, **few))
    config = T5Config(vocab_size=16, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    config.pad_token_id = config.decoder_start_token_id = 0
    vision.save_pretrained(tmp_path / "vit")
    T5Model(config).save_pretrained(tmp_path / "t5")

    for folder in ("vit", "t5"):
        feature = Embedding(column="doc", path=str(tmp_path / folder))
        with pytest.raises(DataError, match="expected a model that takes input_ids alone"):
            feature.apply(feature.fit(docs(), TARGET, seed=0), docs())
