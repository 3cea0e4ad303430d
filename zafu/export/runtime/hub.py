"""The folder that `transformers` loads: what is written, and how it is opened."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zafu import tensors
from zafu.artifact import MODEL, read_json, write_json
from zafu.export.contract import Answers, Source
from zafu.export.runtime import forms
from zafu.tokenizers import encoder

TOKENIZER = (encoder.FILE, encoder.CONFIG)


def write(source: Source, part: Path, largest: int) -> None:
    """Fill a folder with tokenizer, config and weights in files of at most so many bytes."""
    config = source.recipe.model.hub_config(source.signature) or {}
    names = [name for name in TOKENIZER if (source.fitted / name).is_file()]
    for name in names:
        shutil.copyfile(source.fitted / name, part / name)
    if names:
        config["eos_token_id"] = config["bos_token_id"] = encoder.load(part).end
    write_json(part / "config.json", config)
    write_weights(part, tensors.of_module(forms.plain(source.module, {})), largest)


def write_weights(folder: Path, weights: Mapping[str, Tensor], largest: int) -> None:
    """Write safetensors of at most `largest` bytes each, and their index."""
    groups, room = list[dict[str, Tensor]](), 0
    for name, tensor in weights.items():
        if not groups or tensor.nbytes > room:
            groups.append({})
            room = largest
        groups[-1][name] = tensor
        room -= tensor.nbytes
    if len(groups) == 1:
        tensors.write(folder / MODEL, groups[0])
        return
    index: dict[str, str] = {}
    for number, group in enumerate(groups, 1):
        file = f"model-{number:05}-of-{len(groups):05}.safetensors"
        tensors.write(folder / file, group)
        index |= dict.fromkeys(group, file)
    facts = {"metadata": {"total_size": tensors.size(weights)}, "weight_map": index}
    write_json(folder / f"{MODEL}.index.json", facts)


def opened(folder: Path) -> Answers:
    """What `transformers` answers; it reads the folder alone."""
    from transformers import AutoModelForCausalLM, AutoModelForImageClassification

    tokens = "vocab_size" in read_json(folder / "config.json")
    auto = AutoModelForCausalLM if tokens else AutoModelForImageClassification
    model = auto.from_pretrained(
        folder, dtype="float32", local_files_only=True, trust_remote_code=False
    ).eval()

    def answers(inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(inputs)).logits.numpy()

    return answers
