"""Rows and pictures over HTTP: what is answered is what `zafu predict` answers."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from serving import PICTURE, Server
from sklearn.datasets import load_digits, load_iris

from zafu.deploy.bundle import predict
from zafu.run import Run

FLOWER = {"sepal length (cm)": 5.1, "sepal width (cm)": 3.5}
FLOWER |= {"petal length (cm)": 1.4, "petal width (cm)": 0.2}


def picture(index: int) -> bytes:
    shown = (load_digits().images[index] * 15.9).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(shown).save(out, "PNG")
    return out.getvalue()


def plain(answer: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in answer.items() if k not in ("name", "likeliest")}


def test_pictures_get_the_answers_of_predict(guarded: Server, digits: Run, tmp_path: Path) -> None:
    for index in range(4):
        (tmp_path / f"{index}.png").write_bytes(picture(index))
    expected = predict(digits.folder, tmp_path)

    found = [guarded.ask("/predict", picture(index), PICTURE).plain() for index in range(4)]

    for mine, theirs in zip(found, expected, strict=True):
        answer = mine["predictions"][0]
        assert answer["predicted"] == theirs["predicted"] == answer["likeliest"][0]["label"]
        assert answer["probability"] == pytest.approx(theirs["probability"], abs=1e-5)
        assert sum(one["probability"] for one in answer["likeliest"]) == pytest.approx(1, abs=1e-4)


def test_rows_get_the_answers_of_predict(rows: Server, flowers: Run, tmp_path: Path) -> None:
    data = load_iris()
    table = pl.DataFrame({n: data.data[:, i] for i, n in enumerate(data.feature_names)})
    table[::10].write_csv(tmp_path / "rows.csv")
    expected = predict(flowers.folder, tmp_path / "rows.csv")

    found = rows.ask("/predict", {"rows": table[::10].to_dicts()}).plain()["predictions"]

    assert [one["predicted"] for one in found] == [one["predicted"] for one in expected]
    shares = [[one["probability"] for one in many] for many in (found, expected)]
    np.testing.assert_allclose(*shares, atol=1e-5)


def test_a_batch_gives_the_answers_of_one_by_one(guarded: Server) -> None:
    """64 clients at once: their pictures go through the model together, in any company."""
    pictures = [picture(index) for index in range(32)] * 2
    alone = [guarded.ask("/predict", one, PICTURE).plain() for one in pictures[:32]] * 2
    passes = guarded.metric("batch_samples_count")

    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda p: guarded.ask("/predict", p, PICTURE).plain(), pictures))

    assert guarded.metric("batch_samples_count") - passes < 64
    for one, other in zip(alone, together, strict=True):
        mine, theirs = one["predictions"][0], other["predictions"][0]
        assert mine["predicted"] == theirs["predicted"]
        assert mine["probability"] == pytest.approx(theirs["probability"], abs=1e-5)


def test_what_a_model_cannot_compute_with_is_named(rows: Server) -> None:
    """A number that 32 bits do not hold: a refusal, and not an answer that is none."""
    large = {**FLOWER, "petal width (cm)": 1e308}

    predicted = rows.ask("/predict", {"rows": [FLOWER, large]})
    explained = rows.ask("/explain", {"rows": [large]})

    assert predicted.status == explained.status == 422
    assert "expected values like those of the training" in predicted.message()
    assert "sample 1" in predicted.message()
    assert rows.ask("/predict", {"rows": [FLOWER]}).status == 200


def test_a_form_of_files_is_answered_in_order(guarded: Server) -> None:
    parts = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n' + one + b"\r\n"
        for one in (picture(3), picture(5))
    )
    kind = {"content-type": "multipart/form-data; boundary=x"}

    both = guarded.ask("/predict", parts + b"--x--\r\n", kind).plain()["predictions"]

    alone = [guarded.ask("/predict", picture(index), PICTURE).plain() for index in (3, 5)]
    assert [p["predicted"] for p in both] == [a["predictions"][0]["predicted"] for a in alone]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sepal length (cm)": 1}, "column 'petal width (cm)': expected a value or null, found no"),
        ({**FLOWER, "sepal lenght (cm)": 1}, "did you mean sepal length (cm)"),
        ({**FLOWER, "sepal width (cm)": "wide"}, "'sepal width (cm)': expected a finite number"),
        ({**FLOWER, "sepal width (cm)": [1]}, "'sepal width (cm)': expected a finite number"),
        ([1], "expected a mapping of columns to values"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(rows: Server, row: Any, message: str) -> None:
    said = rows.ask("/predict", {"rows": [FLOWER, row]})

    assert said.status == 422
    assert said.message().startswith("rows.1:")
    assert message in said.message()


def test_missing_values_and_the_target_may_be_there(rows: Server) -> None:
    row = {**FLOWER, "sepal width (cm)": None, "petal width (cm)": "", "target": "setosa"}

    assert rows.ask("/predict", {"rows": [row]}).status == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"junk", "image/png", 422),
        (b"", "image/png", 422),
        (picture(1)[:60], "image/png", 422),
        (picture(1), "text/plain", 415),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x", 400),
        (b"--x--", "multipart/form-data", 400),
    ],
)
def test_what_is_no_picture_is_refused(
    guarded: Server, body: bytes, kind: str, status: int
) -> None:
    said = guarded.ask("/predict", body, {"content-type": kind})

    assert said.status == status
    assert " at 0x" not in said.message()


def test_a_picture_of_many_pixels_is_refused_undecoded(guarded: Server) -> None:
    bomb = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(bomb, "PNG")
    before = guarded.metric("memory_bytes")

    said = guarded.ask("/predict", bomb.getvalue(), PICTURE)

    assert said.status == 422
    assert "expected at most 67,108,864 pixels" in said.message()
    assert guarded.metric("memory_bytes") - before < 128 << 20


def test_the_model_is_described(rows: Server, guarded: Server) -> None:
    about = rows.ask("/about").plain()

    assert about["takes"] == "rows"
    assert [column["name"] for column in about["columns"]] == list(load_iris().feature_names)
    assert all(column["number"] and column["usual"] > 0 for column in about["columns"])
    assert guarded.ask("/about").plain()["labels"] == list("0123456789")
    assert json.loads(rows.ask("/openapi.json").body)["paths"].keys() >= {"/predict", "/metrics"}


def test_an_answer_is_explained(rows: Server, guarded: Server) -> None:
    """The likeliest answer to one sample; two are refused."""
    row = rows.ask("/explain", {"rows": [FLOWER]}).plain()
    shown = guarded.ask("/explain", picture(3), PICTURE).plain()

    assert {column["name"] for column in row["columns"]} == set(FLOWER)
    assert np.array(shown["values"]).shape == (8, 8)
    assert (
        shown["output"]
        == guarded.ask("/predict", picture(3), PICTURE).plain()["predictions"][0]["predicted"]
    )
    assert rows.ask("/explain", {"rows": [FLOWER, FLOWER]}).status == 422
