"""The gate of exports: written, opened in its own runtime, compared, measured; else not published.

On the same held-out samples the logits must be those of the model within a tolerance where numbers
keep 32 bits, else the metric must not be worse by more than a share of its value. What can write
text with a cache must write the same tokens, up to a tie.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zafu import artifact
from zafu.artifact import read_json, write_json
from zafu.batch import Batch
from zafu.data.contract import Split
from zafu.deploy import card, written
from zafu.deploy.source import taken
from zafu.errors import Interrupted, Mismatch, Refused
from zafu.evaluation.against import compared
from zafu.export import interface
from zafu.export.contract import FITTED, Answers, Export, Source
from zafu.extras import require
from zafu.latency import BATCHES, filled, timed
from zafu.loading.requests import in_order
from zafu.run import Run
from zafu.signals import Stop, stoppable
from zafu.signature import Tokens

FILE = "export.json"  # in a published folder: what it is and what was measured
SAMPLES, WORDS = 256, 2**13  # most samples, and most tokens, that are compared
WINDOWS, BEGINNINGS = 16, 8  # windows, and beginnings of each, where only the last token counts
AT_ONCE = 32  # samples in one call


class Exported(NamedTuple):
    """A folder that is whole, and what was measured of it."""

    folder: Path
    found: dict[str, Any]


def export(
    run: Run,
    how: Export,
    to: Path | None = None,
    *,
    step: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Publish a finished run's model, or that of a checkpoint of any layout, in another form.

    Raises Refused where there is no such model or form, MissingExtra without the runtime, and
    Mismatch, with nothing published, where the runtime answers otherwise.
    """
    to = to or run.folder / "export" / how.kind
    if to.exists() and not (to / artifact.CARD).is_file():
        raise Refused(f"{to}: expected a folder that zafu wrote or none, found another")
    require(how.needs)
    with taken(run, step, say) as (source, split), stoppable() as stop:
        if faults := tuple(how.refuses(source)):
            raise Refused("\n".join(f"export: {fault}" for fault in faults))
        found: dict[str, Any] = {}

        def write(part: Path) -> None:
            with torch.inference_mode():
                how.write(source, part)
            if stop:
                raise Interrupted(f"{stop.signal}: nothing was published")
            shutil.copytree(source.fitted, part / FITTED)
            write_json(part / interface.FILE, interface.described(source, how))
            found.update(measured(source, how, part, split, stop))
            write_json(part / FILE, found)
            (part / "README.md").write_text(card.text(run, how, source, found, step), "utf-8")

        facts = {"kind": how.kind, "recipe": run.recipe.identity(), "step": step}
        artifact.publish(to, write, **facts, model=_weights(run) if step is None else None)
    return Exported(to, found)


def there(run: Run, how: Export) -> bool:
    """Whether this form of a finished run's model, as it is, lies where `export` puts it."""
    to = run.folder / "export" / how.kind
    whole = (to / artifact.CARD).is_file() and (to / FILE).is_file()
    return (
        whole
        and artifact.card(to).get("model") == _weights(run)
        and read_json(to / FILE)["export"] == how.dump()
    )


def _weights(run: Run) -> str:
    return artifact.card(run.model)["sha256"]


def measured(source: Source, how: Export, part: Path, split: Split, stop: Stop) -> dict[str, Any]:
    """What the written folder answers beside the model, and in which time, as plain data.

    Raises Mismatch where it answers otherwise.
    """
    threads = torch.get_num_threads()
    answers = how.open(part, threads=threads)
    found = parity(source, how, answers, split)
    _refuse(source, how, found)
    if (speaker := how.speaker(part, threads=threads)) is not None:
        found["written"] = written.compared(source, how, speaker)
    return {
        "export": how.dump(),
        "rounded": how.rounds(source),
        **found,
        "bytes": sum(f.stat().st_size for f in part.rglob("*") if f.is_file()),
        "latency": latency(source, how, answers, stop),
        "threads": threads,
    }


def parity(source: Source, how: Export, answers: Answers, split: Split) -> dict[str, Any]:
    """The largest difference of a logit over the largest, and the metric of both, paired.

    Of rounded language models also how far the probabilities of tokens are from the model's.
    """
    task = source.recipe.task
    logarithms = how.rounds(source) and task.kind == "language-modeling"
    gap, size, count, far = 0.0, 0.0, 0, list[float]()
    said: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for inputs, targets in asked(source, how, split):
        with torch.inference_mode():
            expected = source.module(*inputs).float()
        if how.last:
            expected = expected[:, -1:].log_softmax(-1)
        found = torch.from_numpy(np.array(answers(*arrays(inputs)), np.float32))
        if found.shape != expected.shape:
            shapes = f"expected logits of {tuple(expected.shape)}, found {tuple(found.shape)}"
            raise Mismatch(f"export: {shapes}; nothing was published")
        gap = max(gap, float((found - expected).abs().nan_to_num(torch.inf).max()))
        size = max(size, float(expected.abs().max()))
        count += len(targets)
        if logarithms:
            far.append(divergence(found, expected))
        for rows, logits in zip(said, (found, expected), strict=True):
            rows.append(task.answer(logits, targets).numpy())
    metric = "loss" if how.last else source.recipe.metric
    units = count if how.last else split.units(np.arange(count))
    own, other = (np.concatenate(rows) for rows in said)
    scores = compared(task, [metric], own, other, units=units)
    more = {"divergence": float(np.mean(far))} if logarithms else {}
    return {"samples": count, "difference": gap / max(size, 1e-30), "scores": scores, **more}


def divergence(found: Tensor, expected: Tensor) -> float:
    """Kullback-Leibler divergence of `found` from `expected`, nats a token, of logits."""
    ours, theirs = found.flatten(0, -2).log_softmax(-1), expected.flatten(0, -2).log_softmax(-1)
    return float(functional.kl_div(ours, theirs, reduction="batchmean", log_target=True))


def asked(source: Source, how: Export, split: Split) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
    """Inputs and targets of held-out samples; where only the last token counts, of beginnings."""
    most = WINDOWS if how.last else SAMPLES
    for batch in judged(source, split, most):
        if not how.last:
            yield batch.inputs, batch.targets
            continue
        tokens, time = batch.inputs[0], batch.inputs[0].shape[1]
        for length in sorted({-(-time * k // BEGINNINGS) for k in range(1, BEGINNINGS + 1)}):
            yield (tokens[:, :length],), batch.targets[:, length - 1 : length]


def judged(source: Source, split: Split, most: int = SAMPLES) -> Iterator[Batch]:
    """The held-out samples that are compared."""
    inputs, total = source.signature.inputs, min(len(split), most)
    at_once = AT_ONCE
    if isinstance(inputs, Tokens):
        total = min(total, max(2, WORDS // inputs.context))
        at_once = max(1, WORDS // 4 // inputs.context)
    for request in in_order(total, at_once):
        yield split.batch(request.ids)


def latency(source: Source, how: Export, answers: Answers, stop: Stop) -> dict[str, Any]:
    """Milliseconds of an answer by the model in torch and by the runtime, timed in turn."""
    found: dict[str, Any] = {}
    for size in BATCHES[:1] if how.last else BATCHES:
        inputs = filled(source.inputs, size)
        calls = {
            "torch": partial(source.module, *inputs),
            how.kind: partial(answers, *arrays(inputs)),
        }
        found[str(size)] = {name: t.dump() for name, t in timed(calls, stop).items()}
    return found


def arrays(inputs: tuple[Tensor, ...]) -> tuple[np.ndarray, ...]:
    """The same numbers for a runtime that is not torch."""
    return tuple(x.detach().contiguous().numpy() for x in inputs)


def _refuse(source: Source, how: Export, found: dict[str, Any]) -> None:
    if not how.rounds(source):
        if not found["difference"] <= how.tolerance:
            text = f"expected logits within {how.tolerance:.0e} of the largest"
            raise Mismatch(
                f"export: {text}, found {found['difference']:.1e}; nothing was published"
            )
        return
    for row in found["scores"]:
        before, after = row["other"], row["this"]
        higher = source.recipe.task.higher_is_better(row["metric"])
        worse = before - after if higher else after - before
        if not worse <= how.within * abs(before):
            text = f"expected {row['metric']} within {how.within:.1%} of {before:.4g}"
            raise Mismatch(f"export: {text}, found {after:.4g}; nothing was published")


def stored(folder: Path) -> dict[str, Any]:
    """What `export` measured of a published folder; raises Damaged if it has been changed."""
    artifact.verify(folder)
    return read_json(folder / FILE)
