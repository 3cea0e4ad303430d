"""Answers: what a finished model says, in words and units that a user knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from zafu import tensors
from zafu.artifact import read_json
from zafu.errors import DataError, Refused
from zafu.evaluation import calibration
from zafu.loop import key
from zafu.nets.sampling import Choice, Reader, Windowed, sample
from zafu.nets.speculative import Drafted
from zafu.recipe import Recipe
from zafu.signature import Signature
from zafu.tokenizers.encoder import load

SAMPLE_TOKENS = 120  # of each continuation in a report
EXAMPLES = 24  # rows or pictures in a report


def continued(
    model: nn.Module | Reader | Drafted,
    transform: Path,
    prompt: str,
    *,
    length: int,
    choice: Choice,
    seed: int,
) -> Iterator[str]:
    """The text that continues a prompt, piece by piece; the prompt itself is not repeated.

    A piece is given as soon as its bytes are whole characters. Ends early at the end of a
    document. Raises Refused for a model that is not of language.
    """
    if not (transform / "tokenizer.json").is_file():
        raise Refused(f"{transform}: expected a language model, found no tokenizer.json")
    encoder = load(transform)
    device = tensors.device_of(model) if isinstance(model, nn.Module) else torch.device("cpu")
    start = [encoder.end, *encoder.encode([prompt])[0].tolist()]
    generator = torch.Generator(device).manual_seed(key(seed, len(start), 0))
    tokens = torch.tensor(start, device=device)
    found: list[int] = []
    said = ""
    if isinstance(model, Drafted):
        drawn = model.sample(tokens, length=length, choice=choice, generator=generator)
    else:
        own = cast("Windowed | Reader", model)
        drawn = sample(own, tokens, length=length, choice=choice, generator=generator)
    for token in drawn:
        if token == encoder.end:
            break
        found.append(token)
        text = encoder.decode(found)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            yield text[len(said) :]
            said = text


def refuse_nothing(recipe: Recipe, logits: Tensor) -> None:
    """Raise DataError where logits `(samples, outputs)` are no answer, and say of which samples."""
    wrong = ~logits.isfinite()
    if recipe.task.kind != "regression":
        wrong &= ~logits.isneginf()  # of what is not likely at all
    if bad := wrong.flatten(1).any(1).nonzero().flatten().tolist():
        shown = ", ".join(str(index) for index in bad[:8])
        expected = "expected values like those of the training, found some too large"
        raise DataError(f"sample {shown}{' and others' if len(bad) > 8 else ''}: {expected}")


def said(
    recipe: Recipe, logits: Tensor, signature: Signature, transform: Path
) -> list[dict[str, Any]]:
    """What logits `(samples, outputs)` mean: the likeliest label with its probability, or numbers.

    Probabilities are calibrated where the folder of what was fitted holds a temperature.
    """
    if recipe.task.kind == "classification":
        best = _shares(logits, transform).max(-1)
        named = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [{"predicted": _label(signature, i), "probability": p} for i, p in named]
    if recipe.task.kind == "regression":
        values = recipe.data.in_units(transform, logits.numpy().astype(np.float64))
        names = signature.labels or tuple(f"output {i}" for i in range(signature.outputs))
        return [dict(zip(names, row, strict=True)) for row in values.tolist()]
    raise Refused(f"task {recipe.task.kind}: expected rows or pictures to predict; use generate")


def likeliest(
    logits: Tensor, signature: Signature, transform: Path, most: int
) -> list[list[dict[str, Any]]]:
    """For each sample the likeliest labels of logits `(samples, classes)`, at most `most`."""
    top = _shares(logits, transform).topk(min(most, logits.shape[-1]))
    return [
        [
            {"label": _label(signature, i), "probability": p}
            for i, p in zip(ids, shares, strict=True)
        ]
        for ids, shares in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]


def shown(recipe: Recipe, module: nn.Module, data: Path, split: str) -> list[dict[str, Any]]:
    """What a report shows of a model: continued prompts, or predictions beside the truth.

    The module is in evaluation mode.
    """
    transform = data / "transform"
    if recipe.task.kind == "language-modeling":
        choice = Choice(temperature=0.8, top_p=0.95)

        def text(prompt: str) -> str:
            pieces = continued(
                module, transform, prompt, length=SAMPLE_TOKENS, choice=choice, seed=recipe.seed
            )
            return "".join(pieces)

        return [{"prompt": prompt, "text": text(prompt)} for prompt in recipe.evaluate.prompts]
    samples = recipe.data.open(data, split)
    batch = samples.batch(np.arange(min(EXAMPLES, len(samples))))
    signature = Signature.parse(read_json(data / "signature.json"))
    with torch.inference_mode():
        logits = module(*batch.to(tensors.device_of(module)).inputs).float().cpu()
    answers = said(recipe, logits, signature, transform)
    if recipe.task.kind == "classification":
        true = [_label(signature, i) for i in batch.targets.tolist()]
    else:
        true = recipe.data.in_units(transform, batch.targets.double().numpy())[:, 0].tolist()
    rows = zip(batch.ids.tolist(), answers, true, strict=True)
    return [
        {"name": f"{split} {i}", "predicted": next(iter(a.values())), "true": t} for i, a, t in rows
    ]


def _shares(logits: Tensor, transform: Path) -> Tensor:
    """The probability of each class, calibrated where that was fitted."""
    fitted = calibration.stored(transform)
    return (logits / fitted.temperature if fitted else logits).softmax(-1)


def _label(signature: Signature, index: int) -> str:
    return signature.labels[index] if signature.labels else str(index)
