"""`io.json` is enough: a program that reads it alone answers raw samples as `zafu predict` does."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from exported import trained
from PIL import Image
from sklearn.datasets import load_digits

from zafu.deploy.bundle import predict
from zafu.deploy.gate import export
from zafu.export.onnx import Onnx

ROWS = [
    {"origin": "JFK", "month": "7", "humid": "51.5", "wind_dir": "270", "wind_speed": "9.2",
     "wind_gust": "NA", "precip": "0", "pressure": "1013.9", "visib": "10"},
    {"origin": "Oz", "month": "1", "humid": "NA", "wind_dir": "NA", "wind_speed": "3.4",
     "wind_gust": "21", "precip": "0.1", "pressure": "NA", "visib": "0.25"},
]  # fmt: skip


def answered(folder: Path, given: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    return np.asarray(session.run(None, given)[0])


def test_a_row_by_numbers_and_names_alone(tmp_path: Path) -> None:
    folder = export(trained("table", tmp_path), Onnx(), tmp_path / "onnx").folder
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*ROWS[0]])
        writer.writeheader()
        writer.writerows(ROWS)
    told: dict[str, Any] = json.loads((folder / "io.json").read_text())

    names = [one["name"] for one in told["inputs"]]
    encoded = [encode(told["from"], row) for row in ROWS]
    types = [one["type"] for one in told["inputs"]]
    given = {n: np.array([e[n] for e in encoded], t) for n, t in zip(names, types, strict=True)}
    out = told["output"]
    temperatures = answered(folder, given)[:, 0] * out["multiply"][0] + out["then_add"][0]

    expected = [row[out["labels"][0]] for row in predict(folder, tmp_path / "rows.csv")]
    assert temperatures == pytest.approx(expected, rel=1e-5)


def encode(told: dict[str, Any], row: dict[str, str]) -> dict[str, list[float]]:
    numbers: list[float] = []
    for column in told["numbers"]:
        text = row[column["column"]]
        missing = text in told["missing"]
        if "is_missing" in column:
            numbers.append(float(missing))
        else:
            value = column["missing_becomes"] if missing else float(text)
            numbers.append((value - column["subtract"]) / column["then_divide"])
    indices: list[float] = []
    for column in told["categories"]:
        text, values = row[column["column"]], column["values"]
        indices.append(values.index(text) + column["first"] if text in values else 0)
    return {"numbers": numbers, "categories": indices}


def test_a_picture_by_its_channels_numbers_alone(tmp_path: Path) -> None:
    folder = export(trained("mlp", tmp_path), Onnx(), tmp_path / "onnx").folder
    digit = np.rint(load_digits().images[7] * 255 / 16).astype(np.uint8)
    Image.fromarray(digit).save(tmp_path / "digit.png")
    told: dict[str, Any] = json.loads((folder / "io.json").read_text())

    how, (pixels,) = told["from"], told["inputs"]
    assert digit.shape == (how["height"], how["width"])
    values = np.rint(digit * how["first"]["multiply"])[None, None]
    scale = how["each_channel"]
    ready = (values - scale["subtract"][0]) * scale["then_multiply"][0]
    logits = answered(folder, {pixels["name"]: ready.astype(pixels["type"])})[0]
    shares = np.exp(logits / told["output"]["temperature"])
    shares /= shares.sum()

    (row,) = predict(folder, tmp_path / "digit.png")
    assert row["predicted"] == told["output"]["labels"][shares.argmax()]
    assert row["probability"] == pytest.approx(shares.max(), rel=1e-5)
