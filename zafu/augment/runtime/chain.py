"""A chain of augmentations on raw batches: what the training loop calls before `Split.finish`.

All chance follows from (seed, sample id, epoch) and a step's place in the chain, so that a
sample's result is the same in any batch, on any rank and after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import final

import numpy as np
import torch

from zafu.augment.contract import COLUMNS, IMAGES, TOKENS, Augmentation, keys
from zafu.augment.runtime import columns
from zafu.augment.runtime.stages import Backend, staged
from zafu.augment.runtime.step import Magnitude, Scene, Step, Whole
from zafu.batch import Batch
from zafu.errors import Refused

Read = Callable[[np.ndarray], Batch]  # the raw samples with these ids `(batch,)` int64


@final
class Chain:
    """Steps in order on raw batches: pixels in uint8, tokens in int64, columns in floats.

    Raises Refused where a step can do nothing with such samples.
    """

    def __init__(  # what a recipe says, and what its data says
        self,
        steps: Sequence[Augmentation],
        *,
        seed: int,
        outputs: int,
        read: Read,
        n: int,
        backend: Backend = "torch",
        white: float = 255.0,
        vocabulary: Sequence[str] = (),
    ) -> None:
        """`read` gives further samples of the split, `n` is its length.

        `outputs` is the number of classes, tokens or numbers to predict, `white` the largest value
        of a pixel, `vocabulary` the text of each token (`synonyms` wants it). The backend opencv
        sees to maps and tints of pictures on the CPU, and leaves all else to torch.
        """
        self._specs = tuple(steps)
        self._seed, self._read, self._n = seed, read, n
        self._outputs, self._white, self._vocabulary = outputs, white, vocabulary
        self._backend: Backend = backend
        self._flags = torch.zeros(0, dtype=torch.bool)
        self._arrange([spec.step() for spec in steps])
        self._look_ahead()

    def __call__(self, batch: Batch, epochs: np.ndarray) -> Batch:
        """The batch augmented, `epochs` `(batch,)` int64 saying how often each was seen before.

        Pictures become float32 between 0 and `white`, unless no step gave them new values. After
        a step that mixes, classes are probabilities `(batch, outputs)` float32.
        """
        with torch.no_grad():
            return self._run(batch, epochs, upto=len(self._stages))

    def with_magnitudes(
        self, magnitudes: dict[int, dict[str, Magnitude]]
    ) -> Callable[[Batch, np.ndarray], Batch]:
        """A function like this chain, with other magnitudes by step and name, that has gradients.

        See `zafu.augment.runtime.differentiable`.
        """
        other = object.__new__(Chain)
        other.__dict__.update(self.__dict__)
        other._arrange(
            [
                replace(step, magnitudes={**step.magnitudes, **magnitudes.get(index, {})})
                for index, step in enumerate(self._steps)
            ]
        )
        return partial(other._run, upto=len(other._stages))

    @property
    def specs(self) -> tuple[Augmentation, ...]:
        """The steps as the recipe has them."""
        return self._specs

    def _arrange(self, steps: list[Step]) -> None:
        self._steps = steps
        probabilities = {i: spec.probability for i, spec in enumerate(self._specs)}
        self._stages = staged(steps, probabilities, self._backend)

    def _run(self, batch: Batch, epochs: np.ndarray, *, upto: int) -> Batch:
        found = keys(self._seed, batch.ids, epochs)
        for index, stage in enumerate(self._stages[:upto]):
            batch = stage(batch, found, self._scene(epochs, index))
        return batch

    def _scene(self, epochs: np.ndarray, upto: int) -> Scene:
        def partner(ids: np.ndarray, epochs: np.ndarray, like: torch.device) -> Batch:
            return self._run(self._read(ids).to(like), epochs, upto=upto)

        return Scene(
            epochs=epochs,
            partner=partner,
            n=self._n,
            outputs=self._outputs,
            white=self._white,
            vocabulary=self._vocabulary,
            flags=self._flags,
        )

    def _look_ahead(self) -> None:
        """Refuse what cannot work, before any work is done."""
        if not self._specs:
            return
        sample = self._read(np.zeros(1, np.int64))
        gives = _kind_of(sample)
        if gives == COLUMNS:
            some = np.linspace(0, self._n - 1, min(self._n, columns.MOST)).astype(np.int64)
            self._flags = columns.flags(self._read(some).inputs[0].cpu())
        channels = sample.inputs[0].shape[1] if gives == IMAGES else 0
        scene = self._scene(np.zeros(1, np.int64), 0)
        for index, (spec, step) in enumerate(zip(self._specs, self._steps, strict=True)):
            where = f"augmentation {index + 1} ({spec.kind})"
            if not spec.takes & gives:
                known, found = ", ".join(sorted(spec.takes)), ", ".join(gives)
                raise Refused(f"{where}: expected {known}, found {found}")
            if spec.colors and channels != 3:
                raise Refused(f"{where}: expected 3 channels, found {channels}: leave it out")
            if gives == IMAGES and channels not in (1, 3):
                raise Refused(f"{where}: expected 1 or 3 channels, found {channels}")
            if isinstance(step, Whole) and step.ready:
                step.ready(sample, scene)


def _kind_of(sample: Batch) -> frozenset[str]:
    """The kind of a raw sample's inputs, by their shape and type."""
    first = sample.inputs[0]
    if first.ndim == 4:
        return IMAGES
    return COLUMNS if first.is_floating_point() or len(sample.inputs) > 1 else TOKENS
