"""The report of a recipe's data: what was prepared, and samples of it, gathered into one page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zafu import reading
from zafu.artifact import read_json, write_text
from zafu.data.contract import Split
from zafu.data.ledger import REMOVED
from zafu.loading.contract import Request
from zafu.recipe import Recipe
from zafu.report.data_page import Row, Shown, page
from zafu.report.picture import uri
from zafu.signature import Signature
from zafu.source import to_yaml
from zafu.tokenizers.contract import Encoder
from zafu.tokenizers.encoder import load

PICTURES, EPOCHS, TEXTS, ROWS, REMOVALS = 10, 4, 3, 8, 60
CPU = torch.device("cpu")


def write(recipe: Recipe, folder: Path, *, name: str) -> Path:
    """The path of the page about prepared data, `FOLDER.html` beside it, which was replaced."""
    shown = Shown(
        name=name,
        recipe=to_yaml(recipe.dump()),
        digest=folder.name,
        prepare=read_json(folder / "prepare.json"),
        removed=_removed(folder / REMOVED),
        limits=recipe.data.leaks.dump(),
    )
    signature = Signature.parse(read_json(folder / "signature.json"))
    split = recipe.data.open(folder, "train")
    if recipe.data.gives == "pixels":
        shown = replace(shown, pictures=_pictures(recipe, folder, split, signature))
    elif recipe.data.gives == "tokens":
        shown = replace(shown, texts=_texts(recipe, folder, split))
    else:
        shown = replace(shown, rows=_rows(recipe, folder, split, signature))
    path = folder.with_name(f"{folder.name}.html")
    write_text(path, page(shown))
    return path


def _removed(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        return []
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, REMOVALS)]


def _pictures(recipe: Recipe, folder: Path, split: Split, signature: Signature) -> list[Row]:
    """The same training pictures as they are stored, and as they come in some epochs."""
    ids = np.arange(min(PICTURES, len(split)))
    batch = split.raw(ids)
    labels = [signature.labels[i] for i in batch.targets.tolist()]
    stored = batch.inputs[0].numpy() * (255.0 / recipe.data.white)
    rows = [Row("As they are stored", _named(labels, stored))]
    if recipe.fit.augment:
        augmented = reading.augmented(recipe, folder)
        for epoch in range(EPOCHS):
            drawn = augmented(Request(ids, np.full(len(ids), epoch))).inputs[0]
            pixels = drawn.float().numpy() * (255.0 / recipe.data.white)
            rows.append(Row(f"In epoch {epoch + 1}", _named(labels, pixels)))
    return rows


def _named(labels: Sequence[str], pixels: np.ndarray) -> list[tuple[str, str]]:
    bytes_of = np.rint(pixels.clip(0, 255)).astype(np.uint8)
    return [(label, uri(picture)) for label, picture in zip(labels, bytes_of, strict=True)]


def _texts(recipe: Recipe, folder: Path, split: Split) -> list[list[tuple[str, bool]]]:
    """The first windows as text, each token that augmentation changed marked."""
    encoder = load(folder / "transform")
    ids = np.arange(min(TEXTS, len(split)))
    before = split.raw(ids).inputs[0].numpy()
    after = before
    if recipe.fit.augment:
        drawn = reading.augmented(recipe, folder)(Request(ids, np.zeros(len(ids), np.int64)))
        after = drawn.inputs[0].numpy()
    return [_spelled(encoder, a, a != b) for a, b in zip(after, before, strict=True)]


def _spelled(encoder: Encoder, tokens: np.ndarray, changed: np.ndarray) -> list[tuple[str, bool]]:
    """Runs of tokens as text, true where they were changed; the end of a document is shown."""
    cuts = np.flatnonzero(np.diff(changed.astype(np.int8), prepend=-1, append=-1))
    pieces: list[tuple[str, bool]] = []
    for begin, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        run, text = tokens[begin:end], ""
        for part in np.split(run, np.flatnonzero(run == encoder.end)):
            ends = len(part) and part[0] == encoder.end
            text += ("\n— end of a document —\n" if ends else "") + encoder.decode(
                part[int(ends) :].tolist()
            )
        pieces.append((text, bool(changed[begin])))
    return pieces


def _rows(recipe: Recipe, folder: Path, split: Split, signature: Signature) -> list[dict[str, Any]]:
    """The first encoded rows: numbers, categories, target."""
    ids = np.arange(min(ROWS, len(split)))
    batch = split.batch(ids)
    numbers, categories = (x.numpy() for x in batch.inputs)
    if recipe.task.kind == "classification":
        targets = [signature.labels[i] for i in batch.targets.tolist()]
    else:
        values = batch.targets.double().numpy()
        targets = recipe.data.in_units(folder / "transform", values)[:, 0].tolist()
    return [
        {
            "row": str(i),
            "target": target,
            "numbers": ", ".join(f"{x:.3g}" for x in numbers[i][:24]),
            "categories": ", ".join(map(str, categories[i][:24])),
        }
        for i, target in zip(ids.tolist(), targets, strict=True)
    ]
