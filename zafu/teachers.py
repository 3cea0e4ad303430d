"""Teachers: the finished model that a recipe names, if it speaks of the same things as the student.

A run, a fused and a compressed one too, is built as any other model. A folder of `transformers`
says neither what its data was nor which tokens it means by its numbers, but by its tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from zafu import artifact
from zafu.build import load_model
from zafu.elders import from_hub
from zafu.errors import RecipeError, Refused
from zafu.models.hub import Hub
from zafu.nets.attending import Attentive
from zafu.nets.depth import Deep
from zafu.recipe import Recipe
from zafu.signature import Signature, Tokens
from zafu.spec import show
from zafu.tokenizers.encoder import FILE

WHERE = "fit.distil.teacher"


def teacher(recipe: Recipe, folder: Path, data: Path) -> nn.Module:
    """The module of a finished model, in evaluation mode; none of its weights learns.

    `data` is the prepared data of the recipe that learns from it. Raises Refused where the teacher
    takes or answers something else, or does not show what is to be compared.
    """
    signature = Signature.parse(artifact.read_json(data / "signature.json"))
    if from_hub(folder):
        module = _of_hub(folder, signature)
    else:
        folder = artifact.model_folder(folder)
        module = _of_run(folder, recipe, signature)
    if isinstance(signature.inputs, Tokens):
        same_tokens(folder / FILE, data / "transform" / FILE)
    _shows(recipe, module)
    return module.eval().requires_grad_(False)


def same_tokens(theirs: Path, ours: Path) -> None:
    """Raise Refused unless a teacher's tokenizer gives each token of ours the same number."""
    known, found = _tokens(ours), _tokens(theirs)
    if others := [token for token, index in known.items() if found.get(token) != index]:
        first = others[0]
        text = f"expected the tokenizer of the data, found another in {theirs}"
        count = f"{len(others)} of {len(known)} tokens have other numbers or none"
        example = f"{show(first)} is {known[first]} here, {found.get(first)} there"
        raise Refused(f"{WHERE}: {text}: {count}; {example}")


def _of_run(folder: Path, recipe: Recipe, signature: Signature) -> nn.Module:
    module, other, theirs = load_model(folder)
    if other.task.kind != recipe.task.kind:
        text = f"expected a teacher of {recipe.task.kind}, found {other.task.kind}"
        raise Refused(f"{WHERE}: {text}")
    if (theirs.inputs, theirs.outputs) != (signature.inputs, signature.outputs):
        text = f"expected a teacher of the same inputs and outputs, {signature.dump()}"
        raise Refused(f"{WHERE}: {text}, found {theirs.dump()}")
    if theirs.labels != signature.labels:
        text = f"expected a teacher of the same labels, {show(list(signature.labels))}"
        raise Refused(f"{WHERE}: {text}, found {show(list(theirs.labels))}")
    return module


def _of_hub(folder: Path, signature: Signature) -> nn.Module:
    try:
        return Hub(path=str(folder), weights=True).build(signature)
    except RecipeError as error:
        faults = (replace(fault, path=fault.path.replace("model", WHERE)) for fault in error.faults)
        raise RecipeError(faults) from None


def _shows(recipe: Recipe, module: nn.Module) -> None:
    """Raise Refused where a teacher has not what is to be compared."""
    spec = recipe.fit.distil
    if spec and spec.features and not isinstance(module, Deep):
        raise Refused("fit.distil.features: expected a teacher of blocks, found one without")
    if spec and spec.attention and not isinstance(module, Attentive):
        text = "expected a teacher that shows what it looks at, a decoder or vit"
        raise Refused(f"fit.distil.attention: {text}, found another")


def _tokens(file: Path) -> Mapping[str, int]:
    """The number of each token of a tokenizer.json."""
    try:
        plain: Any = json.loads(file.read_text(encoding="utf-8"))
        vocab = plain["model"]["vocab"]
        names = vocab if isinstance(vocab, dict) else {t[0]: i for i, t in enumerate(vocab)}
        added = {str(t["content"]): int(t["id"]) for t in plain.get("added_tokens") or ()}
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise Refused(f"{WHERE}: expected a tokenizer in {file}, {error}") from None
    return {**names, **added}
