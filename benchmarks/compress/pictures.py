"""A trained convolutional net made smaller by zafu and by its peers: accuracy, bytes, time.

```
python benchmarks/compress/pictures.py            # trains first: five minutes on two cores
python benchmarks/compress/pictures.py --quick    # a smoke test; writes nothing
```
The pictures are scikit-learn's digits, made four times as large; the test split judges, and
differences are paired. Times are CPU seconds of one thread, all in turns, over those of the net
in float32, eager. What is pruned is trained on for the same epochs by zafu's loop, the net that
torch-pruning made too; the rival of a pruned net is one of its shape that was trained from scratch
for all epochs together. Writes `pictures.md`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

from zafu import tensors
from zafu.build import load_model
from zafu.compress.prune import Prune
from zafu.compress.recovery import Recovery
from zafu.compress.words import chain
from zafu.evaluation.against import compared
from zafu.nets.surgery import measure
from zafu.pipeline import events
from zafu.recipe import Recipe
from zafu.run import Run, environment, prepared
from zafu.session import Note
from zafu.shrink import scratch
from zafu.shrink.chain import Shrunk, compress
from zafu.shrink.links import calibration_batches, placed

HERE = Path(__file__).parent
LARGER, WIDTH, EPOCHS, RECOVER, ROUNDS = 4, 32, 12, 4, 9
EVERY = "what: [channels, stream]"
CHAINS = (
    "bf16",
    "int8",
    "int8:static",
    f"prune:0.5 > distil:{RECOVER}epochs",
    f"{{kind: prune, amount: 0.5, {EVERY}}} > distil:{RECOVER}epochs",
    f"low-rank:0.5 > distil:{RECOVER}epochs",
    f"sparsify:0.5 > distil:{RECOVER}epochs",
    f"{{kind: prune, amount: 0.6, {EVERY}}} > distil:{RECOVER}epochs > int8:static",
)
Call = Callable[[Tensor], Tensor]


class Contender(NamedTuple):
    """A smaller model."""

    name: str
    call: Call
    bytes: int
    parameters: int | None = None


def recipe(folder: Path, width: int, epochs: int) -> Recipe:
    """A convolutional net on larger digits."""
    data = {
        "kind": "images",
        "folder": str(folder),
        "color": "gray",
        "size": [8 * LARGER, 8 * LARGER],
        "split": {"validation": 0.1, "test": 0.3, "stratify": True},
    }
    fit = {
        "optimizer": {"kind": "adamw", "lr": 3e-3, "weight_decay": 0.05},
        "schedule": {"kind": "cosine", "warmup": 0.1},
        "batch": 32,
        "epochs": epochs,
        "threads": 2,
        "trackers": [],
    }
    return Recipe.parse(
        {
            "task": "classification",
            "data": data,
            "model": {"kind": "convnet", "width": width},
            "fit": fit,
            "evaluate": {"baselines": []},
        }
    )


def drawn(folder: Path, count: int | None) -> None:
    """The digits as files, a folder a class."""
    pictures, labels = load_digits(return_X_y=True)
    for index, (row, label) in enumerate(zip(pictures[:count], labels[:count], strict=True)):
        small = Image.fromarray((row.reshape(8, 8) * 15.9).astype(np.uint8))
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        side = 8 * LARGER
        small.resize((side, side), Image.Resampling.BICUBIC).save(place / f"{index}.png")


def trained(recipe: Recipe, name: str, runs: Path) -> Run:
    """A finished run."""
    run = Run.named(recipe, name, runs)
    for _ in events(run):
        pass
    return run


def by_zafu(run: Run, text: str) -> Path:
    """The folder of a chain's last link."""
    found = [e for e in compress(run.folder, chain(text)) if isinstance(e, (Shrunk, Note))]
    for event in found:
        print(event.text if isinstance(event, Note) else event.folder, file=sys.stderr, flush=True)
    last = found[-1]
    assert isinstance(last, Shrunk)
    return last.folder


def by_torch_pruning(run: Run, data: Path) -> nn.Module:
    """Half of the channels by torch-pruning, before it is trained on."""
    import torch_pruning

    module, own, _ = load_model(run.model)
    batch = next(iter(calibration_batches(own.data.open(data, "train"), 64, 0)))
    pruner = torch_pruning.pruner.MetaPruner(
        module,
        batch.inputs[0][:1],
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.5,
        ignored_layers=[module.get_submodule("head")],
        round_to=8,
    )
    pruner.step()
    for layer in module.modules():
        measure(layer)
    return module


def by_onnxruntime(module: nn.Module, seen: Tensor, *, rounded: bool) -> tuple[Call, int]:
    """As it is, or in 8 bits with calibrated activations."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    path = _onnx(module, seen)
    if rounded:
        name = onnxruntime.InferenceSession(path).get_inputs()[0].name

        class Reader(CalibrationDataReader):
            def __init__(self) -> None:
                self.rows: Iterator[Any] = ({name: row.numpy()} for row in seen.split(16))

            def get_next(self) -> Any:
                return next(self.rows, None)

        small = path.with_name("int8.onnx")
        quantize_static(path, small, Reader(), quant_format=QuantFormat.QDQ, per_channel=True)
        path = small
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    first = session.get_inputs()[0].name

    def call(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {first: x.numpy()})[0])

    return call, path.stat().st_size


def by_openvino(module: nn.Module, seen: Tensor, *, rounded: bool) -> tuple[Call, int]:
    """As it is, or in 8 bits by NNCF."""
    import nncf
    import openvino

    model = openvino.convert_model(_onnx(module, seen))
    if rounded:
        model = nncf.quantize(model, nncf.Dataset([row.numpy() for row in seen.split(16)]))
    path = Path(tempfile.mkdtemp()) / "model.xml"
    openvino.save_model(model, path)
    ready = openvino.compile_model(
        model, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    )

    def call(x: Tensor) -> Tensor:
        return torch.from_numpy(ready(x.numpy())[0])

    return call, path.with_suffix(".bin").stat().st_size


def _onnx(module: nn.Module, seen: Tensor) -> Path:
    path = Path(tempfile.mkdtemp()) / "model.onnx"
    dims = ({0: torch.export.Dim("batch", min=1)},)
    program = torch.onnx.export(module, (seen[:4],), dynamo=True, dynamic_shapes=dims)
    program.save(path)
    return path


def timed(
    contenders: Sequence[Contender], seen: Tensor, rounds: int
) -> dict[str, list[list[float]]]:
    """Times of each contender over the first's, of one and of 32 pictures, in turns."""
    found: dict[str, list[list[float]]] = {c.name: [[], []] for c in contenders}
    for place, size in enumerate((1, 32)):
        calls = {c.name: partial(c.call, seen[:size]) for c in contenders}
        for turn in range(rounds + 1):
            for name, call in calls.items():
                begun = time.process_time()
                for _ in range(8 if size == 1 else 1):
                    call()
                if turn:
                    found[name][place].append(time.process_time() - begun)
    first = found[contenders[0].name]
    return {
        name: [sorted(a / b for a, b in zip(first[i], own[i], strict=True)) for i in range(2)]
        for name, own in found.items()
    }


def answered(call: Call, run: Run, data: Path) -> np.ndarray:
    """What a contender says of the test split."""
    split, task = run.recipe.data.open(data, "test"), run.recipe.task
    rows = list[np.ndarray]()
    for start in range(0, len(split), 32):
        batch = split.batch(np.arange(start, min(start + 32, len(split))))
        rows.append(task.answer(call(batch.inputs[0]), batch.targets).numpy())
    return np.concatenate(rows)


def contenders(run: Run, data: Path, lacking: list[str], *, quick: bool) -> Iterator[Contender]:
    """The net, what zafu makes of it, and what its peers do; who cannot goes into `lacking`."""
    module, own, _ = load_model(run.model)
    yield Contender("float32, eager", module, _size(module), _count(module))
    for text in CHAINS[:4:3] if quick else CHAINS:
        folder = by_zafu(run, text)
        small, _, _ = load_model(folder / "model")
        yield Contender(
            f"zafu `{text}`",
            small,
            (folder / "model" / "model.safetensors").stat().st_size,
            _count(small),
        )
        if text.startswith(("prune", "{kind: prune, amount: 0.5")):
            small, _, _ = load_model(_scratch(run, text).model)
            yield Contender(
                f"trained from scratch in the shape of `{text}`", small, _size(small), _count(small)
            )
    seen = torch.cat(
        [b.inputs[0] for b in calibration_batches(own.data.open(data, "train"), 128, 0)]
    )
    yield _recovered(run, data)
    yield Contender("ONNX Runtime float32", *by_onnxruntime(module, seen, rounded=False))
    try:
        rounded_too = by_onnxruntime(module, seen, rounded=True)
    except ValueError as error:
        lacking.append(f"ONNX Runtime int8, calibrated: {error}")
    else:
        yield Contender("ONNX Runtime int8, calibrated", *rounded_too)
    for rounded in (False, True):
        says = "int8, calibrated" if rounded else "float32"
        yield Contender(f"OpenVINO {says}", *by_openvino(module, seen, rounded=rounded))
    yield Contender("torch.compile, frozen", _compiled(module), _size(module))


def _scratch(run: Run, text: str) -> Run:
    """A fresh net of the pruned shape, trained for all epochs together."""
    prune, again = chain(text)
    assert isinstance(prune, Prune)
    assert isinstance(again, Recovery)
    *_, found = scratch.trained(placed(run.folder, None), prune, again)
    assert isinstance(found, Run)
    return found


def _compiled(module: nn.Module) -> Call:
    import torch._inductor.config as inductor

    inductor.freezing = True
    return torch.compile(deepcopy(module))


def _recovered(run: Run, data: Path) -> Contender:
    """What torch-pruning left, trained on by the same loss for the same epochs."""
    from zafu.distil import Distil
    from zafu.loop import Objective, begin, fit
    from zafu.optim.runtime.update import Update
    from zafu.teaching import Taught

    module, own = by_torch_pruning(run, data), run.recipe
    teacher, _, _ = load_model(run.model)
    changed = own.at("fit.epochs", float(RECOVER)).at("fit.optimizer.lr", 0.3 * 3e-3)
    spec = changed.fit
    task = Taught(own.task, Distil(teacher=str(run.model)), teacher.requires_grad_(False))
    update = Update(module, optimizer=spec.optimizer, schedule=spec.schedule, seed=0)
    torch.set_num_threads(2)
    for _ in fit(
        Objective(module, task, own.data.open(data, "train"), spec, 0), update, begin(spec)
    ):
        pass
    torch.set_num_threads(1)
    name = f"torch-pruning, 50 % of channels, trained on for {RECOVER} epochs"
    return Contender(name, module.eval(), _size(module), _count(module))


def _named(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _size(module: nn.Module) -> int:
    return tensors.size(tensors.of_module(module))


def _count(module: nn.Module) -> int:
    integers = sum(getattr(layer, "numbers", 0) for layer in module.modules())
    return sum(p.numel() for p in module.parameters()) + integers


def main() -> None:
    """Train, measure, print, and write the page."""
    parser = argparse.ArgumentParser(description="a convolutional net made smaller")
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes nothing")
    parser.add_argument("--place", type=Path, help="a folder to go on in (default: a new one)")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    place = given.place or Path(tempfile.mkdtemp())
    drawn(place / "pictures", 400 if given.quick else None)
    source = recipe(place / "pictures", 8 if given.quick else WIDTH, 2 if given.quick else EPOCHS)
    run = trained(source, "net", place / "runs")
    data = prepared(run.recipe, place / "runs")
    lacking = list[str]()
    found = list(contenders(run, data, lacking, quick=given.quick))
    torch.set_num_threads(1)
    split = run.recipe.data.open(data, "test")
    some = split.batch(np.arange(min(32, len(split)))).inputs[0]
    with torch.inference_mode():
        spent = timed(found, some, 2 if given.quick else ROUNDS)
        said = [answered(one.call, run, data) for one in found]
    lines = list[str]()
    for one, rows in zip(found, said, strict=True):
        score = run.recipe.task.judge(rows, units=len(rows))["accuracy"]
        gap = compared(run.recipe.task, ["accuracy"], rows, said[0], units=len(rows))[0][
            "difference"
        ]
        times = [f"{median(t):.2f} ({t[0]:.2f} to {t[-1]:.2f})" for t in spent[one.name]]
        lines.append(
            f"| {one.name} | {100 * score.value:.2f} [{100 * (score.low or 0):.2f}, "
            f"{100 * (score.high or 0):.2f}] | {100 * gap['value']:+.2f} [{100 * gap['low']:+.2f}, "
            f"{100 * gap['high']:+.2f}] | {_named(one.parameters)} | {one.bytes / 1e3:.0f} | "
            f"{found[0].bytes / one.bytes:.2f} | {' | '.join(times)} |"
        )
    facts, side = environment(1), 8 * LARGER
    text = "\n".join(
        [
            "# A convolutional net made smaller, beside its peers",
            "",
            f"{facts['time'][:10]}, {facts['cpu']}, one thread; zafu {facts['zafu']}, torch "
            f"{facts['torch']}. Written by `python benchmarks/compress/pictures.py`.",
            "",
            f"{len(split)} held-out digits of {side} x {side}; accuracy in %, less before in",
            "points, kilobytes of the weights, and times of float32 over a contender's, median",
            "(least to most) of turns: more is faster.",
            "",
            "| | accuracy | less before | numbers | kB | times smaller | 1 picture | 32 pictures |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
            *lines,
            "",
            *(f"Not here: {text}." for text in lacking),
            "",
        ]
    )
    if not given.quick:
        (HERE / "pictures.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
