"""What can be looked into a model by, and why something cannot."""

from __future__ import annotations

from importlib.util import find_spec

from zafu.explain.contract import Explanation, Overview
from zafu.explain.runtime.gradients import undifferentiable, unknown_embeddings
from zafu.explain.runtime.scene import Scene


def why_not(method: Explanation, scene: Scene) -> str:
    """Why this cannot be done with this model; "" where it can."""
    if scene.kind not in method.takes:
        return f"expected {' or '.join(sorted(method.takes))}, found {scene.kind}"
    if isinstance(method, Overview) and (scene.held is None or scene.data is None):
        return "needs the held-out samples of a run, which an exported folder does not have"
    for package, extra in method.needs:
        if find_spec(package) is None:
            return f"needs {package}: pip install 'zafu[{extra}]'"
    if scene.module is None:
        needs = method.gradients or method.weights
        return "needs a model in torch, as another runtime gives answers alone" if needs else ""
    if method.gradients and (found := undifferentiable(scene.module)):
        return found
    strange = unknown_embeddings(scene.module) if scene.kind == "columns" else ""
    if method.gradients and strange:
        return f"the embedding {strange} does not say which column it reads"
    return method.refuses(scene.module)


def suited(scene: Scene) -> tuple[list[Explanation], dict[str, str]]:
    """All that suits such samples and can be done, and what cannot, with the reason."""
    able: list[Explanation] = []
    refused: dict[str, str] = {}
    for kind, technique in Explanation.kinds().items():
        if scene.kind not in technique.takes:
            continue
        method = technique.parse({"kind": kind})
        if reason := why_not(method, scene):
            refused[kind] = reason
        else:
            able.append(method)
    return able, refused
