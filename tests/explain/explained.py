"""Subjects of explanations: small models on real digits, and a table whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from zafu.artifact import read_json
from zafu.deploy.bundle import Bundle
from zafu.explain.runtime.features import Pixels, Tokens
from zafu.explain.runtime.scene import Scene, of_run
from zafu.explain.runtime.subject import Features, Subject
from zafu.models.contract import Model
from zafu.models.convnet import ConvNet
from zafu.models.decoder import Decoder
from zafu.models.vit import ViT
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.signature import Pixels as PixelSignature
from zafu.signature import Signature
from zafu.signature import Tokens as TokenSignature

DIGITS = torch.from_numpy(load_digits().data[:64].reshape(-1, 1, 8, 8) / 16).float()
PICTURES = Signature(inputs=PixelSignature(channels=1, height=8, width=8), outputs=10)
TEXT = Signature(inputs=TokenSignature(vocab=32, context=63), outputs=32)
MODELS: dict[str, tuple[Model, Signature]] = {
    "convnet": (ConvNet(width=8, groups=4, stages=2), PICTURES),
    "vit": (ViT(width=16, heads=2, layers=2, patch=2), PICTURES),
    "decoder": (Decoder(width=32, heads=4, kv_heads=2, layers=2, hidden=48), TEXT),
}


def built(name: str) -> nn.Module:
    """A model of a family with drawn weights, sharper than at first, so that answers differ."""
    spec, signature = MODELS[name]
    torch.manual_seed(0)
    module = spec.build(signature).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return module


def subject(module: nn.Module, *inputs: Tensor, output: int = 3, **more: Any) -> Subject:
    """A sample, nothing being 0."""
    shape: Features = Tokens(inputs[0].shape[1] - 1)
    if inputs[0].dim() == 4:
        shape = Pixels(*inputs[0].shape[-2:])
    given: dict[str, Any] = {
        "features": shape,
        "baseline": tuple(torch.zeros_like(x) for x in inputs),
        "background": (DIGITS[32:],) if inputs[0].dim() == 4 else tuple(x[:0] for x in inputs),
        "classes": True,
        **more,
    }
    return Subject(answers=module, module=module, inputs=inputs, output=output, **given)


def of(name: str) -> Subject:
    """A sample for a model of a family."""
    if name == "decoder":
        return subject(built(name), torch.tensor([[0, 5, 9, 5, 12, 7]]))
    return subject(built(name), DIGITS[:1])


class Additive(nn.Module):
    """2 a + sin(3 b) + a number for each category; the column d is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.of_category = nn.Parameter(torch.tensor([0.0, 1.0, -1.0, 0.5]))

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        a, b = numbers[:, 0], numbers[:, 1]
        found = 2 * a + torch.sin(3 * b) + self.of_category[categories[:, 0]]
        return found[:, None]


def table(folder: Path, module: nn.Module, task: str = "regression") -> Scene:
    """A scene of rows a, b, d (numbers) and c (a category), prepared as a recipe has it."""
    random = np.random.default_rng(0)
    a, b, d = (random.normal(size=300).round(3) for _ in range(3))
    c = random.choice(["x", "y", "z"], 300)
    target = (2 * a + np.sin(3 * b)).round(3)
    shown = target if task == "regression" else np.where(target > 0, "up", "down")
    rows = [f"{w},{x},{y},{z},{t}" for w, x, y, z, t in zip(a, b, d, c, shown, strict=True)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.csv").write_text("\n".join(["a,b,d,c,target", *rows]) + "\n")
    data = {"kind": "table", "files": [str(folder / "rows.csv")], "target": "target"}
    fit = {"optimizer": "adamw", "steps": 1, "batch": 8}
    recipe = Recipe.parse({"task": task, "data": data, "model": "mlp", "fit": fit})
    place = prepared(recipe, folder / "runs")
    signature = Signature.parse(read_json(place / "signature.json"))
    bundle = Bundle("torch", recipe, signature, place / "transform", _none, module=module)
    return of_run(bundle, place)


def _none(*_: np.ndarray) -> np.ndarray:
    return np.zeros(0)
