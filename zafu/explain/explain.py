"""Explaining: samples of a finished model and the model as a whole, each method with its checks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import torch

from zafu.deploy.bundle import opened
from zafu.errors import Refused
from zafu.explain.contract import Aside, Attribution, Explanation, Overview, Values
from zafu.explain.counterfactual import Counterfactual
from zafu.explain.integrated_gradients import IntegratedGradients
from zafu.explain.runtime import scene as scenes
from zafu.explain.runtime import words
from zafu.explain.runtime.able import suited, why_not
from zafu.explain.runtime.checks import checked
from zafu.explain.runtime.scene import Scene
from zafu.explain.runtime.subject import Inputs, Subject
from zafu.explain.settings import importance
from zafu.run import Run, prepared
from zafu.spec import did_you_mean
from zafu.tokenizers.encoder import load
from zafu.words import worded

ROWS = 4  # samples that are explained where none are named
WINDOW = 24  # tokens of a held-out text by which methods are checked
Say = Callable[[str], None]


class Asked(NamedTuple):
    """What is to be explained, and by what."""

    file: Path | None = None
    rows: int | None = None
    prompt: str | None = None
    methods: tuple[str, ...] = ()  # none: all that suit
    samples: int = 8  # held-out ones by which methods are checked
    output: str = ""  # the class that is explained; "": the one that the model says
    move: float | None = None  # by how much a what-if moves a number
    study: Path | None = None  # a search, to say what settings were worth


class Sample(NamedTuple):
    """A sample that is explained."""

    name: str
    inputs: Inputs
    true: str


def explain(folder: Path, asked: Asked, say: Say = lambda _: None) -> dict[str, Any]:
    """All that is found of a finished run or an exported folder, as plain data.

    Raises Refused or RecipeError, with every reason, before anything is computed.
    """
    scene = _scene(folder)
    methods, refused = _methods(scene, asked)
    output = _output(scene, asked.output)
    samples = _samples(scene, asked)
    settings = importance(asked.study) if asked.study else {}
    subjects = [scene.subject(sample.inputs, output) for sample in samples]
    tests = [scene.subject(inputs, None) for inputs in _tests(scene, asked.samples)]
    found: dict[str, Any] = {
        "name": folder.resolve().name,
        "kind": scene.kind,
        "task": scene.recipe.task.kind,
        "model": scene.recipe.model.kind,
        "split": scene.split,
        "checked": len(tests),
        "samples": [_shown(scene, *pair) for pair in zip(samples, subjects, strict=True)],
        "methods": {},
        "overviews": {},
        "settings": settings,
        "refused": refused,
    }
    for method in methods:
        say(method.kind)
        if isinstance(method, Attribution):
            found["methods"][method.kind] = _tried(method, subjects, tests, found["samples"])
        elif isinstance(method, Aside):
            for subject, plain in zip(subjects, found["samples"], strict=True):
                plain[method.kind] = _told(scene, method.about(subject))
        elif isinstance(method, Overview):
            found["overviews"][method.kind] = method.over(scene)
    return found


def _scene(folder: Path) -> Scene:
    bundle = opened(folder)
    if (folder / "recipe.yaml").is_file() and (folder / "model").is_dir():
        return scenes.of_run(bundle, prepared(Run.open(folder).recipe, folder.parent))
    return scenes.of_bundle(bundle)


def _methods(scene: Scene, asked: Asked) -> tuple[list[Explanation], dict[str, str]]:
    """Those that are asked for, or all that suit, with what does not and why."""
    if not asked.methods:
        able, refused = suited(scene)
    else:
        able, refused = [worded(Explanation, text) for text in asked.methods], {}
        reasons = {method.kind: why_not(method, scene) for method in able}
        if faults := [f"--methods {kind}: {why}" for kind, why in reasons.items() if why]:
            raise Refused("\n".join(faults))
    if asked.move is None:
        return able, refused
    if not any(isinstance(method, Counterfactual) for method in able):
        raise Refused("--move: expected counterfactual among the methods, which alone reads it")
    if scene.classes:
        raise Refused("--move: expected a model that predicts numbers, found one of classes")
    return [
        method.model_copy(update={"move": asked.move})
        if isinstance(method, Counterfactual)
        else method
        for method in able
    ], refused


def _output(scene: Scene, name: str) -> int | None:
    labels = scene.signature.labels
    if not name:
        return None
    if name not in labels:
        hint = did_you_mean(name, labels) or f"one of {', '.join(labels[:8]) or 'none'}"
        raise Refused(f"--output: expected a label of the model, found {name!r}; {hint}")
    return labels.index(name)


def _samples(scene: Scene, asked: Asked) -> list[Sample]:
    """What is to be explained; raises Refused for what this model cannot be asked."""
    ways = {"--input": asked.file, "--rows": asked.rows, "--prompt": asked.prompt}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise Refused(f"expected one of --input, --rows and --prompt, found {' and '.join(given)}")
    if asked.prompt is not None:
        return [_prompt(scene, asked.prompt)]
    if asked.file is not None:
        if scene.kind == "tokens":
            raise Refused("--input: expected rows or pictures; use --prompt for a model of text")
        batch, names = scene.recipe.data.encode(scene.fitted, asked.file)
        return [Sample(name, scenes.one(batch, at), "") for at, name in enumerate(names)]
    return list(_held(scene, ROWS if asked.rows is None else asked.rows))


def _prompt(scene: Scene, text: str) -> Sample:
    if scene.kind != "tokens":
        raise Refused(f"--prompt: expected a language model, found one of {scene.kind}")
    tokens = load(scene.fitted).encode([text])[0].tolist()
    most = scene.signature.inputs.context - 1 if scene.signature.inputs.kind == "tokens" else 0
    if not 0 < len(tokens) <= most:
        raise Refused(f"--prompt: expected 1 to {most} tokens, found {len(tokens)}")
    return Sample(text, (torch.tensor([[scene.end, *tokens]]),), "")


def _held(scene: Scene, many: int) -> Iterator[Sample]:
    if scene.held is None:
        raise Refused("--rows: expected a run with its data; give --input or --prompt instead")
    if many < 1:
        raise Refused(f"--rows: expected a number >= 1, found {many}")
    batch = scene.held.batch(np.arange(min(many, len(scene.held))))
    for at, place in enumerate(batch.ids.tolist()):
        name, target = f"{scene.split} {place}", batch.targets[at]
        if scene.kind == "tokens":
            yield Sample(name, _beginning(scene, batch.inputs[0][at : at + 1]), "")
        elif scene.classes:
            yield Sample(name, scenes.one(batch, at), scene.label(int(target)))
        else:
            factor, offset = scene.unit
            value = words.rounded(float(target[0]) * factor + offset)
            yield Sample(name, scenes.one(batch, at), f"{value:g}")


def _tests(scene: Scene, many: int) -> list[Inputs]:
    """Held-out samples, evenly from the whole split."""
    if scene.held is None:
        return []
    places = np.linspace(0, len(scene.held) - 1, min(many, len(scene.held))).astype(np.int64)
    batch = scene.held.batch(places)
    found = [scenes.one(batch, at) for at in range(len(places))]
    return [_beginning(scene, x[0]) for x in found] if scene.kind == "tokens" else found


def _beginning(scene: Scene, window: torch.Tensor) -> Inputs:
    """The first tokens of a window, as if a document began there."""
    start = torch.full_like(window[:, :1], scene.end)
    return (torch.cat([start, window[:, 1:WINDOW]], 1),)


def _shown(scene: Scene, sample: Sample, subject: Subject) -> dict[str, Any]:
    """What a sample is and what the model says of it."""
    said = {"name": sample.name, "true": sample.true, **words.answered(scene, subject)}
    if scene.kind == "pixels":
        return {**said, "picture": words.pictured(scene, subject.inputs), "maps": {}}
    if scene.kind == "columns":
        return {**said, "columns": words.columns_of(scene, subject.inputs), "adds": {}}
    return {**said, "tokens": words.tokens_of(scene, subject.inputs), "adds": {}}


def _tried(
    method: Attribution, subjects: list[Subject], tests: list[Subject], shown: list[dict[str, Any]]
) -> dict[str, Any]:
    """Values for what is shown, put there; and what checks say of the method."""
    start, found = process_time(), [method.of(subject) for subject in subjects]
    seconds = (process_time() - start) / max(len(subjects), 1)
    for subject, values, plain in zip(subjects, found, shown, strict=True):
        _put(method, subject, values, plain)
    tried = [method.of(subject) for subject in tests]
    check = checked(method, [*tests] or subjects, tried or found)
    within = method.within if isinstance(method, IntegratedGradients) else 0.01
    says = f"{inspect.cleandoc(type(method).__doc__ or '').partition(chr(10))[0]} {method.beware}"
    return {
        "signed": method.signed,
        "seconds": seconds,
        "says": says,
        "checks": check.plain(within),
    }


def _put(method: Attribution, subject: Subject, values: Values, plain: dict[str, Any]) -> None:
    """In place: a sample's values among what is shown of it."""
    said: dict[str, Any] = {"how": values.how}
    if values.missing is not None:
        said["missing"] = words.rounded(values.missing)
    if "maps" in plain:
        plain["maps"][method.kind] = {**said, "values": words.plain_map(values.values)}
        return
    said["values"] = [words.rounded(x) for x in values.values.tolist()]
    if values.spread is not None:
        said["spread"] = [words.rounded(x) for x in values.spread.tolist()]
    plain["adds"][method.kind] = said


def _told(scene: Scene, found: dict[str, Any]) -> dict[str, Any]:
    """With the changes of a what-if in the words and units of the data."""
    for way in found.get("ways", []):
        for change in way["changes"]:
            one = scene.columns[change.pop("column")]
            for end in ("from", "to"):
                value = change[end]
                if one.column.category is not None:
                    change[end] = one.values[int(value)] if int(value) < len(one.values) else value
                else:
                    change[end] = one.written(float(one.numbers(np.array(value))))
            change["name"] = one.column.name
        way["output"] = scene.label(way["output"])
    return found
