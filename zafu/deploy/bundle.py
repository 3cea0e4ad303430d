"""Bundle: a finished model behind one door, in torch or in another runtime.

Raw rows, pictures or text go in, answers in words and units come out: what was fitted with the
model (tokenizer, statistics, labels, temperature) travels in the folder that is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from zafu import answer, artifact
from zafu.artifact import read_json
from zafu.batch import Batch
from zafu.build import device_of, load_model
from zafu.deploy.gate import FILE, arrays, stored
from zafu.deploy.written import Spoken
from zafu.errors import Refused
from zafu.export.contract import FITTED, Answers, Export, Speaker
from zafu.memory import keep_freed
from zafu.nets.sampling import Reader
from zafu.recipe import Recipe
from zafu.signature import Signature


@final
@dataclass(frozen=True)
class Bundle:
    """A model that answers, with what stands before and behind it."""

    kind: str  # torch, or that of the export
    recipe: Recipe
    signature: Signature
    fitted: Path  # the folder of all that was fitted with it
    answers: Answers
    speaker: Speaker | None = None  # where it writes text with a cache, in another runtime
    module: nn.Module | None = None  # where torch answers

    def logits(self, batch: Batch) -> Tensor:
        """What the model says of samples, `(samples, ...)` float32 on the CPU.

        Raises DataError for samples that it cannot compute with.
        """
        found = torch.from_numpy(np.array(self.answers(*arrays(batch.inputs)), np.float32))
        answer.refuse_nothing(self.recipe, found)
        return found

    def said(self, batch: Batch) -> list[dict[str, Any]]:
        """For each sample the most likely label with its probability, or the predicted numbers."""
        return answer.said(self.recipe, self.logits(batch), self.signature, self.fitted)

    def of_file(self, file: Path) -> list[dict[str, Any]]:
        """The same for each sample of a file, its name before its answer."""
        batch, names = self.recipe.data.encode(self.fitted, file)
        return [{"name": n, **row} for n, row in zip(names, self.said(batch), strict=True)]


def opened(folder: Path, *, threads: int | None = None) -> Bundle:
    """What a finished run, its model folder or an exported folder answers with.

    Raises Refused if it is none of these, Damaged if it was changed.
    """
    keep_freed()
    threads = threads or torch.get_num_threads()
    if (folder / FILE).is_file():
        return _exported(folder, threads)
    model = artifact.model_folder(folder)
    module, recipe, signature = load_model(model)
    device = device_of(recipe.fit)
    module.to(device)

    def answers(*inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            given = (torch.from_numpy(x).to(device) for x in inputs)
            return module(*given).float().cpu().numpy()

    return Bundle("torch", recipe, signature, model, answers, module=module)


def _exported(folder: Path, threads: int) -> Bundle:
    how = Export.parse(stored(folder)["export"])
    fitted = folder / FITTED
    return Bundle(
        how.kind,
        Recipe.stored(fitted / "recipe.yaml"),
        Signature.parse(read_json(fitted / "signature.json")),
        fitted,
        how.open(folder, threads=threads),
        how.speaker(folder, threads=threads),
    )


def writer(folder: Path) -> tuple[nn.Module | Reader, Path]:
    """What writes text, of a finished run, its model folder or an export; what is fitted with it.

    Raises Refused for an export that keeps nothing of what it has read.
    """
    if not (folder / FILE).is_file():
        model = artifact.model_folder(folder)
        return load_model(model)[0], model
    how = Export.parse(stored(folder)["export"])
    speaker = how.speaker(folder, threads=torch.get_num_threads())
    if speaker is None:
        expected = "expected a run, or an export of a decoder as onnx or gguf"
        raise Refused(f"{folder}: {expected}, found one as {how.kind}, which keeps no past")
    return Spoken(speaker), folder / FITTED


def predict(folder: Path, file: Path) -> list[dict[str, Any]]:
    """What a finished run, or what was exported of it, answers for each sample of a file."""
    return opened(folder).of_file(file)
