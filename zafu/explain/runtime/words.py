"""Samples and answers in words: what a page or a program shows of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from zafu.data import pixels
from zafu.evaluation import calibration
from zafu.explain.runtime.scene import Scene
from zafu.explain.runtime.subject import Inputs, Subject
from zafu.report.picture import uri
from zafu.tokenizers.encoder import load

DIGITS = 5  # of a number in plain data
FINEST = 64  # cells along the longer side of a map in plain data


def answered(scene: Scene, subject: Subject) -> dict[str, Any]:
    """What the model says: a label or token with its probability, or a number in its unit."""
    said = subject.asked(*subject.inputs).cpu()
    if not scene.classes:
        name = scene.label(subject.output) if scene.signature.labels else "answer"
        return {"output": name, "number": rounded(subject.score(said).item())}
    name = scene.label(subject.output)
    if scene.kind == "tokens":
        name = load(scene.fitted).decode([subject.output]) or "(end)"
    else:
        fitted = calibration.stored(scene.fitted)
        said = said / fitted.temperature if fitted else said
    return {"output": name, "probability": rounded(subject.chance(said).item())}


def tokens_of(scene: Scene, inputs: Inputs) -> list[str]:
    """The text of each token behind the first."""
    encoder = load(scene.fitted)
    return [encoder.decode([token]) for token in inputs[0][0, 1:].tolist()]


def columns_of(scene: Scene, inputs: Inputs) -> list[dict[str, str]]:
    """Each column with what the row has there."""
    return [{"name": one.column.name, "value": one.said(inputs)} for one in scene.columns]


def pictured(scene: Scene, inputs: Inputs) -> str:
    """A picture as a PNG in a data URI, with the colors that it had before it was normalized."""
    return uri(shown(scene, inputs[0][0].cpu()).numpy())


def shown(scene: Scene, picture: Tensor) -> Tensor:
    """A normalized picture `(channels, height, width)` as uint8, of 1 or 3 channels."""
    values = picture.double()
    if (scene.fitted / "pixels.json").is_file():
        values = _before(pixels.load(scene.fitted), values) * (255 / scene.recipe.data.white)
    else:
        low, high = values.min(), values.max()
        values = (values - low) / (high - low).clamp(min=1e-9) * 255
    values = values if len(values) in (1, 3) else values.mean(0, keepdim=True)
    return values.round().clamp(0, 255).to(torch.uint8)


def _before(fitted: pixels.Fitted, values: Tensor) -> Tensor:
    if fitted.table:
        levels = np.arange(pixels.LEVELS)
        rows = zip(values.numpy(), fitted.table, strict=True)
        return torch.from_numpy(np.stack([np.interp(x, table, levels) for x, table in rows]))
    shift, scale = (torch.tensor(x).view(-1, 1, 1) for x in (fitted.shift, fitted.scale))
    return values / scale + shift


def plain_map(values: Tensor) -> list[list[float]]:
    """A map `(height, width)` as rows of numbers, its cells averaged to at most 64 a side."""
    side = -(-max(values.shape) // FINEST)
    if side > 1:
        pool = torch.nn.functional.avg_pool2d
        values = pool(values[None, None].float(), side, ceil_mode=True)[0, 0]
    return [[rounded(x) for x in row] for row in values.tolist()]


def rounded(value: float) -> float:
    """A number with as many digits as anybody reads."""
    return float(f"{value:.{DIGITS}g}")
