"""Hub: a model as a folder that `transformers` loads, with its tokenizer, config and a card.

The layout is that of the Hugging Face hub: `config.json`, safetensors in files of a limited size
with an index (huggingface.co/docs/transformers/big_models), `tokenizer.json`, `README.md`. Before
the folder gets its name it is loaded by `transformers`, and its answers to held-out samples are
compared with those of the model in fp32.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from zafu import artifact, checkpoint, tensors
from zafu.artifact import MODEL, read_json, write_json
from zafu.build import build, load_model
from zafu.errors import Mismatch, MissingExtra, Refused
from zafu.measure import Measurement
from zafu.run import Run, prepared
from zafu.signature import Signature
from zafu.tokenizers import encoder

LARGEST = 5 * 10**9  # bytes of a file of weights
TOLERANCE = 1e-4  # of the largest logit: other kernels add in another order
SAMPLES = 8  # that are compared
TOKENIZER = (encoder.FILE, encoder.CONFIG)


class Exported(NamedTuple):
    """A folder that is whole, and how its answers differ."""

    folder: Path
    difference: float  # largest of a logit, over the largest logit
    samples: int
    files: int  # of weights


def export(run: Run, to: Path, *, step: int | None = None, largest: int = LARGEST) -> Exported:
    """Publish a finished run's model, or that of a checkpoint of any layout, for `transformers`.

    Raises Refused where there is no such model or form, MissingExtra without `transformers`, and
    Mismatch, with nothing published, where its answers are others.
    """
    recipe = run.recipe
    if find_spec("transformers") is None:
        raise MissingExtra("transformers", "hub")
    if to.exists() and not (to / artifact.CARD).is_file():
        raise Refused(f"{to}: expected a folder that zafu wrote or none, found another")
    data = prepared(recipe, run.folder.parent)
    signature = Signature.parse(read_json(data / "signature.json"))
    config = recipe.model.hub_config(signature)
    if config is None:
        text = "has no form in transformers; decoder and hub have"
        raise Refused(f"export: expected a model of the hub, {recipe.model.kind} {text}")
    validation, train = (recipe.data.open(data, name) for name in ("validation", "train"))
    split = validation if len(validation) else train
    batch = split.batch(np.arange(min(SAMPLES, len(split))))
    found: dict[str, Any] = {}

    def write(part: Path) -> None:
        names = [name for name in TOKENIZER if (data / "transform" / name).is_file()]
        for name in names:
            shutil.copyfile(data / "transform" / name, part / name)
        if names:
            config["eos_token_id"] = config["bos_token_id"] = encoder.load(part).end
        write_json(part / "config.json", config)
        with trained(run, signature, step) as model, torch.inference_mode():
            found["files"] = write_weights(part, tensors.of_module(model), largest)
            expected = model(*batch.inputs)
        (part / "README.md").write_text(readme(run, config, step), encoding="utf-8")
        found["difference"] = compare(part, batch.inputs[0], expected)

    artifact.publish(to, write, kind="hub", recipe=recipe.identity(), step=step)
    return Exported(to, found["difference"], len(batch.targets), found["files"])


@contextmanager
def trained(run: Run, signature: Signature, step: int | None) -> Generator[nn.Module]:
    """Inside, the module with the weights that are shipped, on the CPU, in evaluation mode.

    Those of a checkpoint are as they would be if the run ended there.
    """
    if step is None:
        if not run.finished:
            saved = checkpoint.complete(run.checkpoints)
            known = "it has no step"
            if saved:
                known = f"--step {checkpoint.step_of(saved[-1])} takes {saved[-1].name}"
            raise Refused(f"{run.folder}: expected a finished run; {known}")
        yield load_model(run.model)[0]
        return
    path = run.checkpoints / checkpoint.name_of(step)
    if path not in (saved := checkpoint.complete(run.checkpoints)):
        known = ", ".join(str(checkpoint.step_of(found)) for found in saved) or "none"
        raise Refused(f"--step: expected one of {known}, found {step}")
    artifact.verify(path)
    model, update, _ = build(on_cpu(run).recipe, signature)
    checkpoint.load_shown(path, model, update)
    with update.evaluating():
        yield model.eval()


def on_cpu(run: Run) -> Run:
    """The same run where it is computed by one process, as it stands in code, on the CPU."""
    recipe = run.recipe.at("fit.device", "cpu").at("fit.compile", False)
    return Run(run.folder, recipe)


def write_weights(folder: Path, weights: Mapping[str, Tensor], largest: int) -> int:
    """Write safetensors of at most `largest` bytes each, and their index; how many files."""
    groups, room = list[dict[str, Tensor]](), 0
    for name, tensor in weights.items():
        if not groups or tensor.nbytes > room:
            groups.append({})
            room = largest
        groups[-1][name] = tensor
        room -= tensor.nbytes
    if len(groups) == 1:
        tensors.write(folder / MODEL, groups[0])
        return 1
    index: dict[str, str] = {}
    for number, group in enumerate(groups, 1):
        file = f"model-{number:05}-of-{len(groups):05}.safetensors"
        tensors.write(folder / file, group)
        index |= dict.fromkeys(group, file)
    facts = {"metadata": {"total_size": tensors.size(weights)}, "weight_map": index}
    write_json(folder / f"{MODEL}.index.json", facts)
    return len(groups)


def compare(folder: Path, inputs: Tensor, expected: Tensor) -> float:
    """The largest difference of a logit over the largest logit; raises Mismatch beyond rounding."""
    from transformers import AutoModelForCausalLM, AutoModelForImageClassification

    tokens = not inputs.is_floating_point()
    auto = AutoModelForCausalLM if tokens else AutoModelForImageClassification
    model = auto.from_pretrained(
        folder, dtype="float32", local_files_only=True, trust_remote_code=False
    )
    found = model.eval()(inputs).logits
    if found.shape != expected.shape:
        shapes = f"expected logits of {tuple(expected.shape)}, found {tuple(found.shape)}"
        raise Mismatch(f"export: {shapes}; nothing was published")
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    if not difference <= TOLERANCE:
        text = f"expected logits within {TOLERANCE:.0e} of the largest, found {difference:.1e}"
        raise Mismatch(f"export: {text}; nothing was published")
    return difference


def readme(run: Run, config: Mapping[str, Any], step: int | None) -> str:
    """The card of the model, with what was measured of it."""
    kind = "text-generation" if "vocab_size" in config else "image-classification"
    lines = ["---", "library_name: transformers", f"pipeline_tag: {kind}", "---", ""]
    lines += [f"# {run.name}", "", *_scores(run, step), "", "```yaml"]
    lines += [(run.folder / "recipe.yaml").read_text(encoding="utf-8").rstrip(), "```", ""]
    return "\n".join(lines)


def _scores(run: Run, step: int | None) -> Iterator[str]:
    if step is not None:
        yield f"Trained by zafu, as it was after step {step}. Not judged on held-out data."
        return
    judged = read_json(run.folder / "evaluation.json")
    yield f"Trained by zafu. On held-out data ({judged['split']}):"
    yield ""
    yield "| metric | value | samples | how |"
    yield "|---|---|--:|---|"
    for name, plain in judged["scores"].items():
        score = Measurement.parse(plain)
        yield f"| {name} | {score} | {score.n} | {score.how} |"
