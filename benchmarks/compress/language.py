"""A trained decoder made smaller by zafu and by its peers: perplexity, bytes, time, in one process.

```
python benchmarks/compress/language.py RUN       # a finished run of benchmarks/compress/text.yaml
python benchmarks/compress/language.py RUN --quick    # a smoke test; writes nothing
```
Every contender has the same weights and the same samples to calibrate with, and answers the same
held-out windows. Times are CPU seconds of one thread, all contenders in turns, over those of the
model in float32, eager. Peers that need packages of other versions run in environments of their own
(`peers.py`), which `--peers PYTHON ...` names. Writes `language.md` and `language.json`.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu import tensors
from zafu.batch import Batch
from zafu.build import load_model
from zafu.compress.words import chain
from zafu.deploy.gate import export
from zafu.export.hub import Hub
from zafu.nets.decoder import Decoder
from zafu.run import Run, environment, prepared
from zafu.shrink.links import work

HERE = Path(__file__).parent
SHAPES = {"1 x 64": (1, 64), "32 x 32": (32, 32)}
CACHED = 128  # tokens before the one whose time is measured
ROUNDS = 9
Call = Callable[[Tensor], Tensor]  # tokens to logits


class Contender(NamedTuple):
    """A smaller model."""

    name: str
    call: Call
    bytes: int
    module: nn.Module | None = None  # where it can decode with a cache
    note: str = ""


class Held(NamedTuple):
    """Held-out windows, and what the model learned from."""

    windows: list[Batch]
    seen: list[Batch]


ZAFU = (
    "bf16",
    "int8",
    "int8:float",
    "int4 > int8",
    "{kind: int4, compensate: false} > int8",
    "int4:128 > int8",
    "{kind: sparsify, score: magnitude}",
    "{kind: sparsify, score: wanda}",
    "sparsify:0.5",
    "{kind: sparsify, score: wanda, pattern: '2:4'}",
    "{kind: sparsify, pattern: '2:4'}",
    "{kind: sparsify, amount: 0.7}",
    "{kind: low-rank, keep: 0.8, whiten: false, ranks: uniform}",
    "{kind: low-rank, keep: 0.8, ranks: uniform}",
    "low-rank:0.8",
    "{kind: low-rank, keep: 0.6, whiten: false, ranks: uniform}",
    "{kind: low-rank, keep: 0.6, ranks: uniform}",
    "low-rank:0.6",
    "{kind: prune, amount: 0.3, what: [hidden]}",
    "{kind: prune, amount: 0.5, what: [hidden]}",
    "{kind: prune, amount: 0.5, what: [hidden], repair: false}",
    "layers:1",
)


def by_zafu(text: str, run: Run, module: nn.Module, data: Path) -> Contender:
    """A chain of links, none of which trains."""
    own, begun = deepcopy(module), time.process_time()
    for link in chain(text):
        tuple(link.apply(work(run.recipe, own, data, link.looked_at, lambda _: None)))
    spent = time.process_time() - begun
    size = tensors.size(tensors.of_module(own))
    return Contender(f"zafu `{text}`", own, size, own, f"{spent:.0f} CPU s")


def by_torchao(module: nn.Module, data: Path) -> Contender:
    """8-bit weights and activations, compiled with frozen weights."""
    import torch._inductor.config as inductor
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    inductor.freezing = True
    own = deepcopy(module)
    quantize_(own, Int8DynamicActivationInt8WeightConfig())
    size = _pickled(own)
    return Contender("torchao int8, compiled", torch.compile(own), size)


def by_torch_prune(module: nn.Module, data: Path) -> Contender:
    """Half of each matrix masked by size."""
    from torch.nn.utils import prune

    own = deepcopy(module)
    for name, layer in own.named_modules():
        if isinstance(layer, nn.Linear) and name != "lm_head":
            prune.l1_unstructured(layer, "weight", amount=0.5)
            prune.remove(layer, "weight")
    return Contender("torch.nn.utils.prune, 50 %", own, _pickled(own), own)


def by_onnxruntime(module: nn.Module, data: Path) -> Contender:
    """Dynamic 8 bits, a scale for each output."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder = Path(tempfile.mkdtemp())
    exported = _onnx(module, folder)
    quantize_dynamic(exported, folder / "int8.onnx", per_channel=True, weight_type=QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "int8.onnx", options)
    name = session.get_inputs()[0].name

    def call(tokens: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: tokens.numpy()})[0])

    return Contender("ONNX Runtime int8", call, (folder / "int8.onnx").stat().st_size)


def by_nncf(module: nn.Module, data: Path, *, bits: int = 8) -> Contender:
    """OpenVINO with weights of 8 or 4 bits by NNCF."""
    import nncf
    import openvino

    folder = Path(tempfile.mkdtemp())
    model = openvino.convert_model(_onnx(module, folder))
    mode = nncf.CompressWeightsMode
    if bits == 8:
        model = nncf.compress_weights(model, mode=mode.INT8_ASYM)
    else:
        model = nncf.compress_weights(model, mode=mode.INT4_SYM, group_size=32)
    openvino.save_model(model, folder / "model.xml")
    size = (folder / "model.bin").stat().st_size
    ready = openvino.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})

    def call(tokens: Tensor) -> Tensor:
        return torch.from_numpy(ready(tokens.numpy())[0])

    return Contender(f"OpenVINO, NNCF int{bits} weights", call, size)


def by_nncf_ptq(module: nn.Module, seen: Sequence[Batch]) -> Contender:
    """OpenVINO with weights and activations of 8 bits by NNCF, calibrated."""
    import nncf
    import openvino

    folder = Path(tempfile.mkdtemp())
    model = openvino.convert_model(_onnx(module, folder))
    samples = [batch.inputs[0][i : i + 1].numpy() for batch in seen for i in range(len(batch.ids))]
    model = nncf.quantize(
        model, nncf.Dataset(samples[:16]), model_type=nncf.ModelType.TRANSFORMER, subset_size=16
    )
    openvino.save_model(model, folder / "model.xml")
    ready = openvino.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})

    def call(tokens: Tensor) -> Tensor:
        return torch.from_numpy(ready(tokens.numpy())[0])

    return Contender("OpenVINO, NNCF int8", call, (folder / "model.bin").stat().st_size)


def _onnx(module: nn.Module, folder: Path) -> Path:
    """The module as ONNX, for any batch and time."""
    path = folder / "model.onnx"
    dims = ({0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("time", min=2, max=256)},)
    tokens = torch.zeros(2, 32, dtype=torch.int64)
    program = torch.onnx.export(module, (tokens,), dynamo=True, dynamic_shapes=dims, verbose=False)
    program.save(path)
    return path


def _pickled(module: nn.Module) -> int:
    held = io.BytesIO()
    torch.save(module.state_dict(), held)
    return held.getbuffer().nbytes


def perplexity(call: Call, windows: Sequence[Batch]) -> float:
    """Of the next tokens of held-out windows."""
    nats, count = 0.0, 0
    for batch in windows:
        logits = call(batch.inputs[0]).float()
        nats += functional.cross_entropy(
            logits.flatten(0, 1), batch.targets.flatten(), reduction="sum"
        ).item()
        count += int((batch.targets >= 0).sum())
    return float(np.exp(nats / count))


def timed(
    contenders: Sequence[Contender], rounds: int, vocab: int
) -> dict[str, dict[str, list[float]]]:
    """CPU seconds of each contender's passes, by what was asked; all in turns."""
    found: dict[str, dict[str, list[float]]] = {c.name: {} for c in contenders}
    for what, shape in SHAPES.items():
        tokens = torch.randint(0, vocab, shape)
        _turns(found, what, rounds, {c.name: partial(c.call, tokens) for c in contenders})
    steps = {c.name: _step(c.module) for c in contenders if isinstance(c.module, Decoder)}
    _turns(found, "a token", rounds, steps)
    return found


def _turns(
    found: dict[str, dict[str, list[float]]],
    what: str,
    rounds: int,
    calls: dict[str, Callable[[], object]],
) -> None:
    for turn in range(rounds + 1):
        for name, call in calls.items():
            begun = time.process_time()
            call()
            if turn:
                found[name].setdefault(what, []).append(time.process_time() - begun)


def _step(module: Decoder) -> Callable[[], object]:
    """One token after `CACHED` others; the cache is cut back each time."""
    cache = module.new_cache()
    tokens = torch.randint(0, module.shape.vocab, (1, CACHED + 1))
    module(tokens[:, :CACHED], cache)
    kept = [(past.keys, past.values) for past in cache]

    def call() -> object:
        for past, (keys, values) in zip(cache, kept, strict=True):
            past.keys, past.values = keys, values
        return module(tokens[:, CACHED:], cache)

    return call


def page(rows: list[dict[str, Any]], facts: dict[str, Any], what: str) -> str:
    """The results as a page."""
    heads = ["| | perplexity | more, % | bytes, MB | of float32 | 1 x 64 | 32 x 32 | a token | |"]
    heads.append("|---|--:|--:|--:|--:|--:|--:|--:|---|")
    lines = [
        f"| {row['name']} | {row['perplexity']:.3f} | {row['more']:+.2f} | "
        f"{row['bytes'] / 1e6:.1f} | {row['share']:.3f} | {_times(row, '1 x 64')} | "
        f"{_times(row, '32 x 32')} | {_times(row, 'a token')} | {row['note']} |"
        for row in rows
    ]
    return "\n".join(
        [
            "# A decoder made smaller, beside its peers",
            "",
            f"{facts['time'][:10]}, {facts['cpu']}, one thread; zafu {facts['zafu']}, torch "
            f"{facts['torch']}. Written by `python benchmarks/compress/language.py`.",
            "",
            what,
            "",
            *heads,
            *lines,
            "",
        ]
    )


def _times(row: dict[str, Any], what: str) -> str:
    found = row["times"].get(what)
    return f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})" if found else ""


def rowed(
    contenders: Sequence[Contender], windows: Sequence[Batch], rounds: int
) -> list[dict[str, Any]]:
    """What was measured of each; times are those of the first over its own."""
    spent = timed(contenders, rounds, contenders[0].module.shape.vocab)
    first, base = contenders[0], perplexity(contenders[0].call, windows)
    rows = list[dict[str, Any]]()
    for one in contenders:
        value, times = perplexity(one.call, windows), dict[str, list[float]]()
        for what, own in spent[one.name].items():
            ratios = sorted(a / b for a, b in zip(spent[first.name][what], own, strict=True))
            tenth = len(ratios) // 10
            times[what] = [median(ratios), ratios[tenth], ratios[-1 - tenth]]
        rows.append(
            {
                "name": one.name,
                "perplexity": value,
                "more": 100 * (value / base - 1),
                "bytes": one.bytes,
                "share": one.bytes / first.bytes,
                "times": times,
                "note": one.note,
            }
        )
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def elsewhere(
    named: Sequence[str], run: Run, windows: Sequence[Batch], seen: Sequence[Batch], first: Any
) -> list[dict[str, Any]]:
    """The rows of peers that are run by another Python each, on the model in the hub's format."""
    rows = list[dict[str, Any]]()
    folder = Path(tempfile.mkdtemp())
    if named:
        export(run, Hub(), folder / "hub")
    held = {"windows": [b.inputs[0] for b in windows], "targets": [b.targets for b in windows]}
    held["seen"] = [b.inputs[0] for b in seen]
    together = {name: torch.cat(parts).numpy() for name, parts in held.items()}
    np.savez(folder / "held.npz", **together)
    for one in named:
        name, _, python = one.partition("=")
        command = [python, str(HERE / "peers.py"), name, str(folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"{name}: {done.stderr[-2000:]}", file=sys.stderr, flush=True)
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                row = json.loads(line)
                row["more"] = 100 * (row["perplexity"] / first["perplexity"] - 1)
                rows.append(row | {"share": row["bytes"] / first["bytes"], "times": {}})
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def tried(name: str, make: Callable[[], Contender]) -> Contender | None:
    """A contender, or None where its package does not do it here, which is said."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001  (what a peer cannot do is a result)
        print(f"{name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr, flush=True)
        return None


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description="a decoder made smaller, beside its peers")
    parser.add_argument("run", type=Path)
    parser.add_argument(
        "--peers", nargs="*", default=[], metavar="NAME=PYTHON", help="llmcompressor=…, gptqmodel=…"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes nothing")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    run = Run.open(given.run)
    module, recipe, _ = load_model(run.model)
    data = prepared(recipe, given.run.parent)
    split = recipe.data.open(data, "test")
    many = min(16 if given.quick else 128, len(split) // 8 * 8)
    windows = [split.batch(np.arange(i, i + 8)) for i in range(0, many, 8)]
    seen = list(work(recipe, module, data, 64, lambda _: None).batches)
    size = tensors.size(tensors.of_module(module))
    contenders = [Contender("float32, eager", module, size, module)]
    chains = ZAFU[:5:2] if given.quick else ZAFU
    makers: dict[str, Callable[[], Contender]] = {
        text: (lambda text=text: by_zafu(text, run, module, data)) for text in chains
    }
    makers |= {
        "torchao": lambda: by_torchao(module, data),
        "torch.nn.utils.prune": lambda: by_torch_prune(module, data),
        "onnxruntime": lambda: by_onnxruntime(module, data),
        "nncf 8": lambda: by_nncf(module, data),
        "nncf 4": lambda: by_nncf(module, data, bits=4),
        "nncf ptq": lambda: by_nncf_ptq(module, seen),
    }
    for name, make in makers.items():
        print(name, file=sys.stderr, flush=True)
        if (made := tried(name, make)) is not None:
            contenders.append(made)
    with torch.inference_mode():
        rows = rowed(contenders, windows, 2 if given.quick else ROUNDS)
    rows += elsewhere(given.peers, run, windows, seen, rows[0])
    count = sum(p.numel() for p in module.parameters())
    what = (
        f"A decoder of {count / 1e6:.1f} M parameters on Python's own sources, perplexity on "
        f"{many} held-out windows of {windows[0].inputs[0].shape[1]} tokens. Times are those of "
        "float32 over a contender's, median (tenth to nine tenths) of turns: more is faster. At "
        f"the end peers that run in environments of their own (`peers.py`)."
    )
    text = page(rows, environment(1), what)
    if not given.quick:
        (HERE / "language.md").write_text(text, encoding="utf-8")
        (HERE / "language.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
