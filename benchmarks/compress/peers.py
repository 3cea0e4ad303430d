"""Peers that need other versions of packages: `PYTHON peers.py llmcompressor|gptqmodel FOLDER`.

FOLDER has `hub`, the model as transformers loads it, and `held.npz`: windows, their targets, and
what to calibrate with. A line of JSON for each way: name, perplexity, bytes, note.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional


def perplexity(model: Any, held: Any) -> float:
    """Of held-out windows."""
    nats, count = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(held["windows"]), 8):
            tokens, targets = (torch.from_numpy(held[n][start : start + 8]) for n in NAMES)
            logits = model(input_ids=tokens).logits.float()
            flat = targets.flatten()
            nats += functional.cross_entropy(logits.flatten(0, 1), flat, reduction="sum").item()
            count += int((flat >= 0).sum())
    return float(np.exp(nats / count))


NAMES = ("windows", "targets")


def llmcompressor(folder: Path, held: Any) -> Iterator[dict[str, Any]]:
    """GPTQ, SparseGPT and Wanda."""
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier
    from llmcompressor.modifiers.quantization import GPTQModifier
    from transformers import AutoModelForCausalLM

    data = Dataset.from_dict(
        {"input_ids": held["seen"].tolist(), "attention_mask": np.ones_like(held["seen"]).tolist()}
    )
    weights = {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group"}
    group = {"targets": ["Linear"], "weights": weights | {"group_size": 32}}
    ways: dict[str, Callable[[], Any]] = {
        "GPTQ 4 bits, groups of 32": lambda: GPTQModifier(
            config_groups={"group_0": group}, ignore=["lm_head"]
        ),
        "SparseGPT, 50 %": lambda: SparseGPTModifier(sparsity=0.5, ignore=["lm_head"]),
        "Wanda, 50 %": lambda: WandaPruningModifier(sparsity=0.5, ignore=["lm_head"]),
    }
    for name, way in ways.items():
        begun = time.process_time()
        model = AutoModelForCausalLM.from_pretrained(folder / "hub", dtype=torch.float32)
        oneshot(
            model=model,
            dataset=data,
            recipe=way(),
            max_seq_length=held["seen"].shape[1],
            num_calibration_samples=len(held["seen"]),
        )
        spent, found = time.process_time() - begun, perplexity(model, held)
        out = folder / "llmcompressor"
        model.save_pretrained(out, save_compressed=True)
        size = sum(file.stat().st_size for file in out.glob("*.safetensors"))
        yield {"name": f"llm-compressor {name}", "perplexity": found, "bytes": size,
               "note": f"{spent:.0f} CPU s"}  # fmt: skip


def gptqmodel(folder: Path, held: Any) -> Iterator[dict[str, Any]]:
    """GPTQ."""
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # with one it refuses to start
    from gptqmodel import BACKEND, GPTQModel, QuantizeConfig

    begun = time.process_time()
    settings = QuantizeConfig(bits=4, group_size=32)
    model = GPTQModel.load(str(folder / "hub"), settings, dtype=torch.float32)
    rows = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in held["seen"].tolist()]
    model.quantize(rows, batch_size=4)
    out = folder / "gptqmodel"
    model.save(str(out))
    spent = time.process_time() - begun
    size = sum(file.stat().st_size for file in out.glob("*.safetensors"))
    again = GPTQModel.load(str(out), device="cpu", backend=BACKEND.TORCH)
    found = perplexity(again.model, held)
    yield {"name": "gptqmodel 4 bits, groups of 32", "perplexity": found, "bytes": size,
           "note": f"{spent:.0f} CPU s"}  # fmt: skip


def main() -> None:
    """Print what one peer makes of the model."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    name, folder = sys.argv[1], Path(sys.argv[2])
    ways = {"llmcompressor": llmcompressor, "gptqmodel": gptqmodel}
    for row in ways[name](folder, np.load(folder / "held.npz", allow_pickle=False)):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
