"""One decoder, many runtimes: tokens in a second of a single text, in turns in one process.

```
zafu train benchmarks/deploy/decoder.yaml
python benchmarks/deploy/language.py runs/decoder-*            # all; writes language.md
python benchmarks/deploy/language.py runs/decoder-* --quick    # a smoke test; writes nothing
```
Every contender has the weights of the run and one thread. A turn is a prompt of 32 held-out tokens
and 100 likeliest ones behind it, and 64 tokens read at once; time is CPU time of this process, so
that what else the machine does counts less. Ratios are those of transformers' `generate` to a
contender, turn by turn. Beside them: what a token costs at least, the bytes of weights that it
needs over the speed at which this machine sums an array; how many tokens are those that the model
in torch holds for likeliest; and how far likelihoods are from its own. Contenders whose package is
not here, or does not do it, are named at the end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from zafu.build import load_model
from zafu.compress.words import chain
from zafu.deploy.gate import divergence, export
from zafu.export.contract import Export
from zafu.nets.decoder import Decoder
from zafu.nets.decoding import Decoding, Slot
from zafu.run import Run, environment, prepared
from zafu.shrink.links import work
from zafu.words import worded

HERE = Path(__file__).parent
PROMPT, READ = 32, 64
TRIED = (
    "import numpy, openvino, openvino_genai as genai, sys\n"
    "pipe = genai.LLMPipeline(sys.argv[1], 'CPU', INFERENCE_NUM_THREADS=1)\n"
    "tokens = openvino.Tensor(numpy.zeros((1, 4), numpy.int64))\n"
    "pipe.generate(tokens, genai.GenerationConfig(max_new_tokens=2, ignore_eos=True))\n"
)
Write = Callable[[int], "list[int] | None"]  # so many likeliest tokens behind the prompt


class Bench(NamedTuple):
    """What all contenders are made of."""

    run: Run
    module: Decoder
    data: Path
    prompt: Tensor  # (PROMPT,)
    text: Tensor  # (READ,)
    place: Path  # for files


class Contender(NamedTuple):
    """A runtime with the model."""

    name: str
    write: Write
    read: Callable[[], object] | None
    bytes: int  # of weights that a token needs
    tokens: list[int] | None = None  # what it writes, where `write` does not say
    divergence: float | None = None


def by_transformers(bench: Bench) -> Contender:
    """`generate` as it comes."""
    from transformers import AutoModelForCausalLM

    export(bench.run, worded(Export, "hub"), bench.place / "hub")
    model = AutoModelForCausalLM.from_pretrained(bench.place / "hub", dtype="float32").eval()
    model.generation_config.eos_token_id = None

    def write(many: int) -> list[int]:
        with torch.inference_mode():
            found = model.generate(
                bench.prompt[None], max_new_tokens=many, do_sample=False, pad_token_id=0
            )
        return found[0, PROMPT:].tolist()

    return Contender(
        "transformers, float32", write, _module_reads(model, bench), needed(bench.module, 4)
    )


def by_zafu(bench: Bench, how: str = "") -> Contender:
    """Zafu's own loop, with nothing but torch."""
    module = smaller(bench, how) if how else bench.module
    slot = Slot(Decoding(module), 0)

    def write(many: int) -> list[int]:
        slot.forget()
        token = slot.read(bench.prompt).argmax(-1, keepdim=True)
        found = [int(token)]
        while len(found) < many:
            token = slot.read(token).argmax(-1, keepdim=True)
            found.append(int(token))
        return found

    def read() -> object:
        slot.forget()
        return slot.each(bench.text)

    far = None
    if how:
        with torch.inference_mode():
            far = divergence(read(), bench.module(bench.text[None])[0])
    return Contender(f"zafu, {how or 'float32'}", write, read, needed(module, 4), divergence=far)


def smaller(bench: Bench, how: str) -> Decoder:
    """The model after a chain of links, none of which trains."""
    module = deepcopy(bench.module)
    for link in chain(how):
        given = work(bench.run.recipe, module, bench.data, link.looked_at, print_to_stderr)
        tuple(link.apply(given))
    return module


def by_zafu_drafted(bench: Bench) -> Contender:
    """The same with a draft of 4-bit weights."""
    from zafu.nets.sampling import Choice
    from zafu.nets.speculative import Drafted

    drafted, greedy = Drafted(bench.module, smaller(bench, "int4")), Choice(temperature=0)

    def write(many: int) -> list[int]:
        return list(drafted.sample(bench.prompt, length=many, choice=greedy))

    return Contender("zafu, float32 with an int4 draft", write, None, needed(bench.module, 4))


def by_onnxruntime(bench: Bench) -> Contender:
    """ONNX Runtime with zafu's graph, the cache in its own tensors."""
    found = export(bench.run, worded(Export, "onnx"), bench.place / "onnx")
    how = worded(Export, "onnx")
    speaker, answers = (open_(found.folder, threads=1) for open_ in (how.speaker, how.open))

    def write(many: int) -> list[int]:
        speaker.forget()
        tokens = [int(speaker.read(bench.prompt.numpy()).argmax())]
        while len(tokens) < many:
            tokens.append(int(speaker.read(np.array(tokens[-1:])).argmax()))
        return tokens

    return Contender(
        "ONNX Runtime, `onnx`",
        write,
        lambda: answers(bench.text[None].numpy()),
        needed(bench.module, 4),
    )


def by_llama(bench: Bench, weights: str) -> Contender:
    """llama.cpp with zafu's file; the tokens are those that the gate compared."""
    how = worded(Export, f"gguf:{weights}")
    found = export(bench.run, how, bench.place / weights)
    speaker = how.speaker(found.folder, threads=1)
    server = speaker._server

    def asked(tokens: Tensor, many: int) -> Any:
        asked = {"prompt": tokens.tolist(), "n_predict": many, "temperature": 0.0}
        answer = server.handle_completions({**asked, "cache_prompt": False, "ignore_eos": True})
        if answer["usage"]["completion_tokens"] != many:
            raise RuntimeError(f"expected {many} tokens, found {answer['usage']}")
        return answer

    bits = {"f32": 32, "f16": 16, "bf16": 16, "q8_0": 8.5, "q4_0": 4.5}[weights]
    far = found.found.get("divergence")
    same = found.found["written"]
    return Contender(
        f"llama.cpp, `gguf:{weights}` ({same['equal']} of {same['tokens']} tokens)",
        lambda many: asked(bench.prompt, many) and None,
        lambda: asked(bench.text, 1),
        int(needed(bench.module, 4) * bits / 32),
        divergence=far,
    )


def by_genai(bench: Bench, precision: str) -> Contender:
    """ONNX Runtime GenAI with what its builder makes of the hub's folder."""
    import onnxruntime_genai as genai

    folder = bench.place / f"genai-{precision}"
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i"]
    command += [str(bench.place / "hub"), "-o", str(folder), "-p", precision, "-e", "cpu"]
    subprocess.run(
        [*command, "-c", str(bench.place / "cache")], check=True, capture_output=True, text=True
    )
    config = json.loads((folder / "genai_config.json").read_text())
    config["model"]["decoder"]["session_options"]["intra_op_num_threads"] = 1
    (folder / "genai_config.json").write_text(json.dumps(config))
    model = genai.Model(str(folder))

    def write(many: int) -> list[int]:
        params = genai.GeneratorParams(model)
        until = PROMPT + many  # a text does not end before
        params.set_search_options(max_length=until, min_length=until, do_sample=False)
        generator = genai.Generator(model, params)
        generator.append_tokens(bench.prompt.numpy().astype(np.int32))
        for _ in range(many):
            generator.generate_next_token()
        return [int(token) for token in generator.get_sequence(0)[PROMPT:]]

    share = 1.0 if precision == "fp32" else 4.5 / 32
    return Contender(
        f"ONNX Runtime GenAI, {precision}", write, None, int(needed(bench.module, 4) * share)
    )


def by_openvino(bench: Bench, weights: str) -> Contender:
    """OpenVINO GenAI with zafu's file."""
    import openvino
    import openvino_genai as genai

    path = bench.place / weights / "model.gguf"
    # some files end the process that opens them
    subprocess.run([sys.executable, "-c", TRIED, str(path)], check=True, capture_output=True)
    pipe = genai.LLMPipeline(str(path), "CPU", INFERENCE_NUM_THREADS=1)
    prompt = openvino.Tensor(bench.prompt[None].numpy())

    def write(many: int) -> list[int]:
        config = genai.GenerationConfig(max_new_tokens=many, ignore_eos=True, do_sample=False)
        return list(pipe.generate(prompt, config).tokens[0])

    bits = {"f16": 16, "q8_0": 8.5, "q4_0": 4.5}[weights]
    size = int(needed(bench.module, 4) * bits / 32)
    return Contender(f"OpenVINO GenAI, zafu's `gguf:{weights}`", write, None, size)


def needed(module: nn.Module, width: int) -> int:
    """Bytes of weights that a token needs: all but the embedding, of which it needs a row."""
    held = [*module.named_parameters(), *module.named_buffers()]
    tied = getattr(module, "lm_head", None) is None
    return sum(x.nbytes for name, x in held if tied or not name.startswith("model.embed_tokens"))


def _module_reads(module: nn.Module, bench: Bench) -> Callable[[], object]:
    def read() -> object:
        with torch.inference_mode():
            return module(bench.text[None])

    return read


def print_to_stderr(text: object) -> None:
    print(text, file=sys.stderr, flush=True)


def bandwidth() -> float:
    """Bytes in a second that one thread sums, the best of five passes over 256 MB."""
    held, best = torch.ones(1 << 26), 0.0
    for _ in range(5):
        begun = time.process_time()
        held.sum()
        best = max(best, held.nbytes / (time.process_time() - begun))
    return best


def measured(contenders: list[Contender], many: int, turns: int) -> list[dict[str, Any]]:
    """Times of each, in turns, and what else there is to say of it."""
    spent = {one.name: {"write": list[float](), "read": list[float]()} for one in contenders}
    said: dict[str, list[int] | None] = {}
    for turn in range(turns + 1):
        for one in contenders:
            begun = time.process_time()
            said[one.name] = one.write(many)
            after = time.process_time()
            if one.read is not None:
                one.read()
            if turn:
                spent[one.name]["write"].append(after - begun)
                spent[one.name]["read"].append(time.process_time() - after)
    first, speed, rows = contenders[0], bandwidth(), list[dict[str, Any]]()
    for one in contenders:
        row: dict[str, Any] = {"name": one.name, "divergence": one.divergence}
        row["second"] = [many / t for t in spent[one.name]["write"]]
        for what in ("write", "read") if one.read is not None else ("write",):
            pairs = zip(spent[first.name][what], spent[one.name][what], strict=True)
            row[what] = sorted(a / b for a, b in pairs)
        row["limit"] = speed / one.bytes
        tokens = said[one.name]
        if tokens is not None and (own := said[contenders[1].name]) is not None:
            pairs = enumerate(zip(own, tokens, strict=True))
            row["equal"] = next((i for i, (a, b) in pairs if a != b), many)
        rows.append(row)
    return rows


def spread(values: list[float]) -> str:
    """Median, with the least and the largest."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def page(rows: list[dict[str, Any]], facts: dict[str, Any], what: str, missing: list[str]) -> str:
    """The results as Markdown."""
    heads = ["", "tokens in a CPU second", "of what memory allows", "writing", "reading 64"]
    head = f"| {' | '.join([*heads, 'same tokens', 'nats apart'])} |"
    lines = ["# A decoder in many runtimes", "", what, "", head, "|---|" + "--:|" * 6]
    for row in rows:
        rate, far = median(row["second"]), row["divergence"]
        equal = row.get("equal")
        lines.append(
            f"| {row['name']} | {rate:.0f} | {rate / row['limit']:.2f} | {spread(row['write'])} | "
            f"{spread(row['read']) if 'read' in row else ''} | "
            f"{'' if equal is None else equal} | {'' if far is None else f'{far:.1e}'} |"
        )
    lines += ["", *(f"Not here: {text}" for text in missing), ""]
    when = f"{facts['time'][:10]}, {facts['cpu']}, one thread; zafu {facts['zafu']}"
    return "\n".join([*lines, f"{when}, torch {facts['torch']}.", ""])


def makers(bench: Bench) -> dict[str, Callable[[], Contender]]:
    """Every contender by name; the first is what others are compared with, the second exact."""
    found: dict[str, Callable[[], Contender]] = {
        "transformers": lambda: by_transformers(bench),
        "zafu": lambda: by_zafu(bench),
        "zafu int8": lambda: by_zafu(bench, "int8:float"),
        "zafu int4": lambda: by_zafu(bench, "int4 > int8:float"),
        "zafu bf16": lambda: by_zafu(bench, "bf16"),
        "zafu draft": lambda: by_zafu_drafted(bench),
        "onnxruntime": lambda: by_onnxruntime(bench),
    }
    for weights in ("f32", "f16", "q8_0", "q4_0"):
        found[f"llama.cpp {weights}"] = lambda weights=weights: by_llama(bench, weights)
    for precision in ("fp32", "int4"):
        found[f"genai {precision}"] = lambda precision=precision: by_genai(bench, precision)
    for weights in ("f16", "q8_0", "q4_0"):
        found[f"openvino {weights}"] = lambda weights=weights: by_openvino(bench, weights)
    return found


def main() -> None:
    """Make the contenders, measure them, and write the page."""
    parser = argparse.ArgumentParser(description="one decoder in many runtimes")
    parser.add_argument("run", type=Path)
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes nothing")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    run = Run.open(given.run)
    module, recipe, _ = load_model(run.model)
    data = prepared(recipe, given.run.parent)
    text = recipe.data.open(data, "validation").batch(np.arange(1)).inputs[0][0]
    contenders, missing = list[Contender](), list[str]()
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(run, module, data, text[:PROMPT], text[:READ], Path(place))
        for name, make in makers(bench).items():
            print_to_stderr(name)
            try:
                made = make()
                made.write(2)  # what can't is found out here
                contenders.append(made)
            except Exception as error:  # noqa: BLE001  (what a peer cannot do is a result)
                missing.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
                print_to_stderr(missing[-1])
        many, turns = (8, 1) if given.quick else (100, 9)
        rows = measured(contenders, many, turns)
    count = sum(p.numel() for p in module.parameters()) / 1e6
    what = (
        f"A decoder of {count:.1f} M parameters, briefly trained: of its answers only "
        f"how they differ between runtimes says something. "
        f"{PROMPT} tokens and {many} behind them, {turns} turns; "
        "ratios are times of transformers over those of a contender, median (least to largest). "
        "Same tokens: how many before the first that differs from zafu's in float32."
    )
    shown = page(rows, environment(), what, missing)
    print(shown)
    if not given.quick:
        (HERE / "language.md").write_text(shown, encoding="utf-8")


if __name__ == "__main__":
    main()
