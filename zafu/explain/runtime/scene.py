"""A scene: a finished model with what is needed to ask it about samples of its data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from zafu import tensors
from zafu.batch import Batch
from zafu.data import pixels
from zafu.data.contract import Split
from zafu.deploy.bundle import Bundle
from zafu.explain.runtime import features
from zafu.explain.runtime.subject import Features, Inputs, Subject
from zafu.explain.runtime.table import Described, by_name, described
from zafu.recipe import Recipe
from zafu.signature import Columns, Pixels, Signature

BACKGROUND = 128  # samples of the training split that stand for what is usual


@dataclass(frozen=True)
class Scene:
    """A model, and the samples by which it is looked into."""

    recipe: Recipe
    signature: Signature
    fitted: Path  # the folder of all that was fitted with the model
    answers: Callable[..., Tensor]
    module: nn.Module | None  # None: the model is in another runtime
    background: Inputs  # (m, ...)
    held: Split | None = None  # samples that it did not learn from
    split: str = ""  # their name
    data: Path | None = None  # the prepared folder of these

    @property
    def kind(self) -> str:
        """Of its inputs: pixels, columns or tokens."""
        return self.signature.inputs.kind

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device("cpu") if self.module is None else tensors.device_of(self.module)

    @property
    def classes(self) -> bool:
        """Whether an answer is a choice."""
        return self.recipe.task.kind != "regression"

    @cached_property
    def columns(self) -> list[Described]:
        """Of a table."""
        inputs = self.signature.inputs
        return described(self.recipe, inputs, self.fitted) if isinstance(inputs, Columns) else []

    @cached_property
    def unit(self) -> tuple[float, float]:
        """Factor and offset from the model's first number to the unit of the data."""
        if self.classes:
            return 1.0, 0.0
        ends = np.array([[0.0], [1.0]]).repeat(self.signature.outputs, 1)
        zero, one = self.recipe.data.in_units(self.fitted, ends)[:, 0].tolist()
        return one - zero, zero

    @property
    def end(self) -> int:
        """The token that begins a document."""
        return self.signature.inputs.end if self.signature.inputs.kind == "tokens" else 0

    def label(self, output: int) -> str:
        """The name of an output."""
        return self.signature.labels[output] if self.signature.labels else str(output)

    def subject(self, inputs: Inputs, output: int | None = None) -> Subject:
        """A sample `(1, ...)`, and an output: by default the likeliest, or the first number."""
        inputs = tuple(x.to(self.device) for x in inputs)
        factor, offset = self.unit
        found = Subject(
            answers=self.answers,
            module=self.module,
            features=self._features(inputs),
            inputs=inputs,
            baseline=self._baseline(inputs),
            background=self.background,
            output=output or 0,
            classes=self.classes,
            factor=factor,
            offset=offset,
        )
        if output is None and self.classes:
            best = int(found.asked(*inputs)[0].argmax())
            return self.subject(inputs, best)
        return found

    def _features(self, inputs: Inputs) -> Features:
        if isinstance(self.signature.inputs, Pixels):
            return features.Pixels(*inputs[0].shape[-2:])
        if isinstance(self.signature.inputs, Columns):
            return features.Columns(by_name(self.columns))
        return features.Tokens(inputs[0].shape[1] - 1)

    def _baseline(self, inputs: Inputs) -> Inputs:
        """Nothing: black, the mean number and the commonest category, or ends of documents."""
        if self.kind == "tokens":
            return (torch.full_like(inputs[0], self.end),)
        if self.kind == "pixels":
            return (self._black(inputs[0]),)
        if not len(self.background[0]):
            return inputs[0] * 0, inputs[1] * 0
        return self.background[0].mean(0, keepdim=True), self.background[1].mode(0, keepdim=True)[0]

    def _black(self, like: Tensor) -> Tensor:
        """A black picture as the model sees it; 0 where it is not known how that was made."""
        black = torch.zeros_like(like)
        if not (self.fitted / "pixels.json").is_file():
            return black
        return pixels.normalized(black, pixels.load(self.fitted))


def of_bundle(bundle: Bundle) -> Scene:
    """A model alone: without samples, the number that is nothing is the one that became 0."""
    none = tuple(x[:0] for x in _blank(bundle.signature))
    return Scene(bundle.recipe, bundle.signature, bundle.fitted, asked(bundle), bundle.module, none)


def of_run(bundle: Bundle, data: Path) -> Scene:
    """A model with the prepared data that it was trained on."""
    recipe = bundle.recipe
    splits = {name: recipe.data.open(data, name) for name in ("test", "validation", "train")}
    name = next(name for name, split in splits.items() if len(split))
    train = splits["train"]
    some = np.linspace(0, len(train) - 1, min(BACKGROUND, len(train))).astype(np.int64)
    device = torch.device("cpu") if bundle.module is None else tensors.device_of(bundle.module)
    background = train.batch(some).to(device).inputs
    return Scene(
        recipe, bundle.signature, bundle.fitted, asked(bundle), bundle.module, background,
        splits[name], name, data,
    )  # fmt: skip


def asked(bundle: Bundle) -> Callable[..., Tensor]:
    """The model as a function of tensors."""
    if bundle.module is not None:
        return bundle.module

    def answers(*inputs: Tensor) -> Tensor:
        arrays = (x.contiguous().numpy() for x in inputs)
        return torch.from_numpy(np.array(bundle.answers(*arrays), np.float32))

    return answers


def one(batch: Batch, at: int) -> Inputs:
    """A sample of a batch, `(1, ...)`."""
    return tuple(x[at : at + 1] for x in batch.inputs)


def _blank(signature: Signature) -> Inputs:
    """A sample of zeros, `(1, ...)`."""
    inputs = signature.inputs
    if isinstance(inputs, Pixels):
        return (torch.zeros(1, inputs.channels, inputs.height, inputs.width),)
    if isinstance(inputs, Columns):
        numbers = torch.zeros(1, inputs.numbers)
        return numbers, torch.zeros(1, len(inputs.categories), dtype=torch.long)
    return (torch.zeros(1, 1, dtype=torch.long),)
