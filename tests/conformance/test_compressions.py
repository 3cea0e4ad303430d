"""The exam of every compression, on every family of models that it does not refuse."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from zafu import plugins, tensors
from zafu.batch import Batch
from zafu.build import stored
from zafu.compress.contract import Compression, Work
from zafu.compress.recovery import Recovery
from zafu.compress.words import link
from zafu.edits.contract import Edit
from zafu.errors import Refused
from zafu.models.compressed import edited
from zafu.models.contract import Model
from zafu.models.convnet import ConvNet
from zafu.models.decoder import Decoder
from zafu.models.hub import Hub
from zafu.models.mlp import MLP
from zafu.models.vit import ViT
from zafu.nets.matrices import chosen
from zafu.recipe import Recipe
from zafu.signature import Pixels, Signature, Tokens
from zafu.task import Classification, LanguageModeling, Task

DIGITS, LABELS = load_digits(return_X_y=True)
PICTURES = Signature(inputs=Pixels(channels=1, height=8, width=8), outputs=10)
TEXT = Signature(inputs=Tokens(vocab=32, context=63), outputs=32)


class Subject(NamedTuple):
    """A model of a family, and samples of real digits: as pictures, or as rows of brightness."""

    spec: Model
    signature: Signature
    task: Task
    batches: list[Batch]

    def built(self) -> nn.Module:
        torch.manual_seed(0)
        return self.spec.build(self.signature).eval()

    def work(self, module: nn.Module) -> Work:
        return Work(module, self.batches, self.task.loss, 0, lambda _: None)

    def said(self, module: nn.Module) -> torch.Tensor:
        with torch.no_grad():
            return module(*self.batches[0].inputs)


def pictures() -> list[Batch]:
    x = torch.from_numpy(DIGITS[:64].reshape(-1, 1, 8, 8) / 16).float()
    y = torch.from_numpy(LABELS[:64]).long()
    return [Batch((x[i : i + 16],), y[i : i + 16], np.arange(16)) for i in range(0, 64, 16)]


def texts() -> list[Batch]:
    x = torch.from_numpy(DIGITS[:16]).long()
    return [Batch((x[i : i + 8, :-1],), x[i : i + 8, 1:], np.arange(8)) for i in (0, 8)]


plugins.load([Path(__file__).with_name("own_nets.py")])
LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
RESNET = {
    "model_type": "resnet",
    "embedding_size": 16,
    "hidden_sizes": [16, 32],
    "depths": [1, 2],
    "layer_type": "basic",
}


def own(net: str) -> Subject:
    """A user's, which says nothing of itself."""
    spec = Model.kinds()["own"].parse({"kind": "own", "net": net})
    return Subject(spec, PICTURES, Classification(), pictures())


VIT = ViT(width=32, heads=4, layers=2, patch=2)
DECODER = Decoder(width=64, heads=4, kv_heads=2, layers=2, hidden=96)
SUBJECTS = {
    "mlp": Subject(MLP(width=64, layers=2), PICTURES, Classification(), pictures()),
    "convnet": Subject(ConvNet(width=16, groups=4), PICTURES, Classification(), pictures()),
    "vit": Subject(
        ViT(width=32, heads=4, layers=2, patch=2), PICTURES, Classification(), pictures()
    ),
    "decoder": Subject(
        Decoder(width=64, heads=4, kv_heads=2, layers=2, hidden=96),
        TEXT,
        LanguageModeling(),
        texts(),
    ),
    "tied": Subject(
        Decoder(width=64, heads=4, layers=2, hidden=96, tied=True),
        TEXT,
        LanguageModeling(),
        texts(),
    ),
    "own cnn": own("cnn"),
    "own transformer": own("transformer"),
    "own encoder": own("encoder"),
    "llama": Subject(Hub(config=LLAMA), TEXT, LanguageModeling(), texts()),
    "resnet": Subject(Hub(config=RESNET), PICTURES, Classification(), pictures()),
}
METHODS = [kind for kind, of in Compression.kinds().items() if not issubclass(of, Recovery)]
BEFORE = {"merge": "lora"}  # what a link needs before it
NO_LINEAR = ("int4", "aware", "lora", "merge")
REFUSED = {(kind, "convnet") for kind in NO_LINEAR}  # it has its head alone
REFUSED.add(("mixed", "own encoder"))  # 30 % of its bytes: its packed attention stays as it is
CASES = [(kind, name) for kind in METHODS for name in SUBJECTS if (kind, name) not in REFUSED]


def applied(kind: str, subject: Subject, module: nn.Module) -> tuple[Edit, ...]:
    edits: tuple[Edit, ...] = ()
    for name in (BEFORE.get(kind), kind):
        if name:
            edits += tuple(link(name).apply(subject.work(module)))
    return edits


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_the_model_is_had_again_from_its_recipe_and_its_weights(
    kind: str, name: str, tmp_path: Path
) -> None:
    subject = SUBJECTS[name]
    module = subject.built()
    edits = applied(kind, subject, module)
    tensors.write(tmp_path / "model.safetensors", tensors.of_module(module))

    smaller = Model.kinds()["compressed"].parse(edited(subject.spec, edits).dump())
    again = smaller.build(subject.signature)
    tensors.into_module(again, tensors.read(tmp_path / "model.safetensors"), tmp_path)

    assert edits
    torch.testing.assert_close(subject.said(again.eval()), subject.said(module), rtol=0, atol=0)
    with torch.device("meta"):
        smaller.build(subject.signature)


@pytest.mark.parametrize("name", ["mlp", "convnet", "vit"])
def test_zeros_of_training_are_stored_as_those_of_a_link(name: str) -> None:
    subject = SUBJECTS[name]
    module = subject.built()
    fit = {"epochs": 1, "sparsity": {"amount": 0.7}}
    given = {"task": "classification", "data": "digits", "fit": fit}
    recipe = Recipe.parse(given | {"model": subject.spec.dump()})
    for layer in chosen(module, ("*",), ("head",)).values():
        least = layer.weight.detach().abs().flatten().quantile(0.7)
        layer.weight.data[layer.weight.abs() < least] = 0

    smaller, thin = stored(recipe, module)
    again = smaller.model.build(subject.signature)
    tensors.into_module(again, tensors.of_module(thin), Path())

    torch.testing.assert_close(subject.said(again.eval()), subject.said(module), rtol=0, atol=0)
    assert tensors.size(tensors.of_module(thin)) < 0.6 * tensors.size(tensors.of_module(module))


@pytest.mark.parametrize("nothing", ["prune:0", "sparsify:0", "low-rank:1", "layers:0"])
@pytest.mark.parametrize("name", SUBJECTS)
def test_nothing_asked_is_nothing_changed(nothing: str, name: str) -> None:
    subject = SUBJECTS[name]
    module = subject.built()
    before = deepcopy(module.state_dict())

    edits = tuple(link(nothing).apply(subject.work(module)))

    assert not edits
    assert all(torch.equal(t, before[n]) for n, t in module.state_dict().items())


@pytest.mark.parametrize("chain", ["prune:{}", "low-rank:{}", "sparsify:{}"])
@pytest.mark.parametrize("name", SUBJECTS)
def test_more_is_smaller(chain: str, name: str) -> None:
    subject, sizes = SUBJECTS[name], list[int]()
    strengths = (0.9, 0.6, 0.3) if chain.startswith("low-rank") else (0.2, 0.5, 0.8)
    for strength in strengths:
        module = subject.built()
        tuple(link(chain.format(strength)).apply(subject.work(module)))
        sizes.append(tensors.size(tensors.of_module(module)))

    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize(("kind", "name"), sorted(REFUSED - {("merge", "convnet")}))
def test_what_cannot_be_done_is_refused(kind: str, name: str) -> None:
    subject = SUBJECTS[name]
    with pytest.raises(Refused, match=kind):
        tuple(link(kind).apply(subject.work(subject.built())))


@pytest.mark.parametrize("kind", ["int8", "bf16", "{kind: int8, reads: static}", "int8:float"])
@pytest.mark.parametrize("name", SUBJECTS)
def test_what_is_rounded_answers_nearly_the_same(kind: str, name: str) -> None:
    subject = SUBJECTS[name]
    module = subject.built()
    before = subject.said(module)

    tuple(link(kind).apply(subject.work(module)))

    assert (subject.said(module) - before).norm() < 0.05 * before.norm()
