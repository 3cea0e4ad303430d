"""The exam of every explanation, on every family of models that it does not refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from zafu.artifact import read_json
from zafu.compress.contract import Work
from zafu.compress.words import link
from zafu.deploy.bundle import Bundle
from zafu.errors import RecipeError
from zafu.explain.contract import ANY, Aside, Attribution, Explanation, Overview
from zafu.explain.runtime.able import why_not
from zafu.explain.runtime.scene import Scene, of_run, one
from zafu.explain.runtime.subject import Inputs
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.signature import Signature
from zafu.words import worded

KINDS = {name: kind for name, kind in Explanation.kinds().items() if not name.startswith("test-")}
ROWS = "\n".join(
    [
        "a,b,target",
        *(f"{i % 13},{'xyz'[i % 3]},{'up' if i % 13 > 6 else 'down'}" for i in range(260)),
    ]
)
LINES = "\n".join(f"def f{i}(x): return x + {i % 7}" for i in range(400))
FAMILIES = {
    "convnet": {"kind": "convnet", "width": 8, "stages": 2},
    "vit": {"kind": "vit", "width": 16, "heads": 2, "layers": 2, "patch": 2},
    "mlp": {"kind": "mlp", "width": 16, "layers": 1},
    "decoder": {"kind": "decoder", "width": 32, "heads": 4, "layers": 2, "hidden": 48},
    "ensemble": {
        "kind": "ensemble",
        "members": [
            {"kind": "convnet", "width": 8, "stages": 2},
            {"kind": "convnet", "width": 8, "stages": 1},
        ],
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    (place / "rows.csv").write_text(ROWS)
    (place / "lines.txt").write_text(LINES)
    return place


@pytest.fixture(scope="module")
def scenes(folder: Path) -> dict[str, Scene]:
    return {name: scene_of(name, folder) for name in FAMILIES}


def scene_of(name: str, folder: Path, rounded: str = "") -> Scene:
    data: dict[str, object] = {"kind": "digits"}
    if name == "mlp":
        data = {"kind": "table", "files": [str(folder / "rows.csv")], "target": "target"}
    if name == "decoder":
        tokenizer = {"kind": "bpe", "vocab": 300}
        data = {"kind": "text", "files": [str(folder / "lines.txt")], "delimiter": "\n"}
        data |= {"tokenizer": tokenizer, "context": 8}
    task = "language-modeling" if name == "decoder" else "classification"
    fit = {"optimizer": "adamw", "steps": 1, "batch": 8}
    recipe = Recipe.parse({"task": task, "data": data, "model": FAMILIES[name], "fit": fit})
    place = prepared(recipe, folder / "runs")
    signature = Signature.parse(read_json(place / "signature.json"))
    torch.manual_seed(0)
    module = recipe.model.build(signature).eval()
    if rounded:
        seen = [recipe.data.open(place, "train").batch(np.arange(32))]
        tuple(link(rounded).apply(Work(module, seen, recipe.task.loss, 0, lambda _: None)))
    bundle = Bundle(
        "torch", recipe, signature, place / "transform", lambda *_: np.zeros(0), module=module
    )
    return of_run(bundle, place)


def sample(scene: Scene) -> Inputs:
    assert scene.held is not None
    return one(scene.held.batch(np.arange(1)), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_had_again_from_its_words(kind: str) -> None:
    method = worded(Explanation, kind)

    assert Explanation.parse(method.dump()) == method
    assert method.takes
    assert method.takes <= ANY
    assert isinstance(method, (Attribution, Aside, Overview))
    assert not isinstance(method, Attribution) or method.beware.endswith(".")


@pytest.mark.parametrize("kind", KINDS)
def test_settings_out_of_range_are_refused(kind: str) -> None:
    with pytest.raises(RecipeError, match="no such key"):
        Explanation.parse({"kind": kind, "no_such_setting": 1})


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_plain_numbers_or_says_why_not(
    kind: str, name: str, scenes: dict[str, Scene]
) -> None:
    scene, method = scenes[name], worded(Explanation, kind)
    if kind.endswith("-sensitivity"):
        method = method.model_copy(update={"samples": 8})
    if reason := why_not(method, scene):
        assert scene.kind not in method.takes or "expected" in reason
        return
    before = [weight.clone() for weight in scene.module.parameters()] if scene.module else []

    if isinstance(method, Attribution):
        subject = scene.subject(sample(scene))
        first, again = method.of(subject), method.of(subject)
        assert tuple(first.values.shape) == subject.features.shape
        assert torch.isfinite(first.values).all()
        assert torch.equal(first.values, again.values)  # nothing is left to chance
        assert subject.features.parts(first.values).shape == (subject.features.many,)
    elif isinstance(method, Aside):
        json.dumps(method.about(scene.subject(sample(scene))), allow_nan=False)
    elif isinstance(method, Overview):
        json.dumps(method.over(scene), allow_nan=False)
    after = list(scene.module.parameters()) if scene.module else []
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["convnet", "decoder"])
def test_of_rounded_models_gradients_are_refused_and_answers_are_enough(
    name: str, folder: Path
) -> None:
    scene = scene_of(name, folder, rounded="int8")
    for kind, technique in KINDS.items():
        method = technique.parse({"kind": kind})
        if scene.kind in method.takes and method.gradients:
            assert "rounded numbers, which have no gradient" in why_not(method, scene)

    occlusion = worded(Explanation, "occlusion")
    assert isinstance(occlusion, Attribution)
    assert why_not(occlusion, scene) == ""
    assert torch.isfinite(occlusion.of(scene.subject(sample(scene))).values).all()


@pytest.mark.parametrize("how", ["prune:0.3", "low-rank:0.7", "sparsify:0.5"])
def test_of_smaller_models_gradients_are_had(how: str, folder: Path) -> None:
    scene = scene_of("vit", folder, rounded=how)
    method = worded(Explanation, "integrated-gradients")

    assert isinstance(method, Attribution)
    assert why_not(method, scene) == ""
    assert (method.of(scene.subject(sample(scene))).missing or 0) <= 0.01
