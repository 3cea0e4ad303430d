"""What compression leaves is exported: smaller shapes, zeros, factors, integers, 16 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from zafu.batch import Batch
from zafu.compress.contract import Work
from zafu.compress.words import chain
from zafu.export.contract import Export, Source
from zafu.export.onnx import Onnx
from zafu.models.convnet import ConvNet
from zafu.models.decoder import Decoder
from zafu.models.mlp import MLP
from zafu.recipe import Recipe
from zafu.signature import Pixels, Signature, Tokens
from zafu.task import Classification, LanguageModeling

DIGITS, LABELS = load_digits(return_X_y=True)
PICTURES = Signature(inputs=Pixels(channels=1, height=8, width=8), outputs=10)
TEXT = Signature(inputs=Tokens(vocab=32, context=63), outputs=32)
MODELS = {
    "mlp": (MLP(width=64, layers=2), PICTURES),
    "convnet": (ConvNet(width=16, groups=4, stages=2, blocks=1), PICTURES),
    "decoder": (Decoder(width=64, heads=4, kv_heads=2, layers=2, hidden=96), TEXT),
}


def compressed(name: str, how: str) -> Source:
    """A model of digits, as pictures or as text of brightness, after a chain of links."""
    spec, signature = MODELS[name]
    torch.manual_seed(0)
    module = spec.build(signature).eval()
    tokens = name == "decoder"
    shown = torch.from_numpy(DIGITS[:32]).long() if tokens else pictures()
    inputs = (shown[:, :-1],) if tokens else (shown,)
    targets = shown[:, 1:] if tokens else torch.from_numpy(LABELS[:32]).long()
    task = LanguageModeling() if tokens else Classification()
    work = Work(module, [Batch(inputs, targets, np.arange(32))], task.loss, 0, lambda _: None)
    for link in chain(how):
        tuple(link.apply(work))
    recipe = cast(Recipe, None)  # writers of graphs do not read it
    return Source(module.eval(), recipe, signature, Path(), inputs, lambda _: None, inputs)


def pictures() -> torch.Tensor:
    return torch.from_numpy(DIGITS[:32].reshape(-1, 1, 8, 8) / 16).float()


def answers(source: Source, how: Export, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """What the module says of 32 samples, and what the runtime says."""
    how.write(source, folder)
    with torch.no_grad():
        own = source.module(*source.inputs).float().numpy()
    return own, how.open(folder, threads=1)(*(x.numpy() for x in source.inputs))


EXACT = [
    ("mlp", "prune:0.5"),
    ("convnet", "prune:0.5"),
    ("convnet", "low-rank:0.5 > sparsify:0.5"),
    ("decoder", "layers:1 > prune:0.25"),
    ("decoder", "lora"),
    ("mlp", "aware:4"),
]
ROUNDED = [
    ("mlp", "int8"),
    ("mlp", "int8:static"),
    ("decoder", "int8:float"),
    ("decoder", "int4"),
    ("convnet", "int8"),
    ("convnet", "int8:static"),
    ("decoder", "bf16"),
    ("convnet", "fp16"),
]


@pytest.mark.parametrize(("name", "how"), EXACT)
def test_a_changed_form_is_an_ordinary_graph(name: str, how: str, tmp_path: Path) -> None:
    own, other = answers(compressed(name, how), Onnx(), tmp_path)

    np.testing.assert_allclose(other, own, rtol=1e-4, atol=1e-5 * np.abs(own).max())


@pytest.mark.parametrize(("name", "how"), ROUNDED)
def test_narrow_weights_stay_narrow_in_the_file(name: str, how: str, tmp_path: Path) -> None:
    """Their rounding is ours, so answers agree to far less than that costs."""
    source = compressed(name, how)

    own, other = answers(source, Onnx(), tmp_path)

    assert np.abs(own - other).max() < 0.02 * np.abs(own).max()
    narrow = sum(x.nbytes for x in stored(source) if x.numel() > 1)
    assert (tmp_path / "model.onnx").stat().st_size < narrow + 60_000


def stored(source: Source) -> list[Any]:
    return [*source.module.parameters(), *source.module.buffers()]
