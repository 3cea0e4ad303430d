"""Live: a small explanation of one answer, while somebody waits for it."""

from __future__ import annotations

from typing import Any

from zafu.answer import refuse_nothing
from zafu.deploy.bundle import Bundle
from zafu.errors import DataError
from zafu.explain.contract import Attribution
from zafu.explain.integrated_gradients import IntegratedGradients
from zafu.explain.occlusion import Occlusion
from zafu.explain.runtime.able import why_not
from zafu.explain.runtime.scene import of_bundle
from zafu.explain.runtime.words import answered, columns_of, plain_map, rounded, tokens_of

STEPS = 256  # most gradients, so that an answer is explained within a second


def explanation(bundle: Bundle, *inputs: Any, output: int | None = None) -> dict[str, Any]:
    """What speaks for an answer, as plain data for JSON, of a model that `export.bundle` opened.

    `inputs` are the tensors of one encoded sample, `(1, ...)` each, in the order in which the model
    takes them (`Batch.inputs`; text as `(1, 1 + tokens)`, the first the token that begins a
    document). `output` is what is explained: a class, a token, or one of several numbers; None:
    the likeliest. By integrated gradients where the model has gradients, else by occlusion:

        {"kind": "pixels", "method": ..., "output": "3", "probability": 0.97, "missing": 0.004,
         "values": [[...], ...]}     rows of a map of at most 64 x 64; > 0 speaks for it
        {"kind": "columns", "method": ..., "output": "temp", "number": 55.2,
         "columns": [{"name": "humid", "value": "61.2", "adds": -3.1}, ...]}
        {"kind": "tokens", "method": ..., "output": "(", "probability": 0.41,
         "tokens": [{"text": "def", "adds": 0.3}, ...]}

    What a column adds is in the unit of the output. `missing` is the share of what the values
    should add up to that they lack. Nothing here was checked; `zafu explain` does that.
    """
    scene = of_bundle(bundle)
    method: Attribution = IntegratedGradients(steps=STEPS)
    if why_not(method, scene):
        method = Occlusion()
    subject = scene.subject(inputs, output)
    refuse_nothing(bundle.recipe, subject.asked(*subject.inputs).cpu())
    found = method.of(subject)
    if not found.values.isfinite().all():
        raise DataError("expected values like those of the training: the gradients are no numbers")
    said = {"kind": scene.kind, "method": method.kind, **answered(scene, subject)}
    if found.missing is not None:
        said["missing"] = rounded(found.missing)
    if scene.kind == "pixels":
        return {**said, "values": plain_map(found.values)}
    adds = [rounded(x) for x in found.values.tolist()]
    if scene.kind == "columns":
        rows = zip(columns_of(scene, subject.inputs), adds, strict=True)
        return {**said, "columns": [{**column, "adds": x} for column, x in rows]}
    texts = zip(tokens_of(scene, subject.inputs), adds, strict=True)
    return {**said, "tokens": [{"text": text, "adds": x} for text, x in texts]}
