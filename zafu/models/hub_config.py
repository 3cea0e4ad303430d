"""The `transformers` config of an architecture that is described, in the sizes that data has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zafu.errors import Fault, RecipeError
from zafu.signature import Pixels, Signature, Tokens
from zafu.spec import did_you_mean, show

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# Python's errors with which a config or a model of `transformers` refuses sizes
REFUSALS = (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, AttributeError)
ELSEWHERE = ("auto_map", "attn_implementation", "experts_implementation")  # can name code to fetch


def read(folder: Path, *, weights: bool) -> dict[str, Any]:
    """The `config.json` of a folder; raises RecipeError for what cannot be used."""
    file = folder / "config.json"
    try:
        given = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _refused("path", "a folder with a config.json", f"{file}: {error}") from None
    if not isinstance(given, dict) or not isinstance(given.get("model_type"), str):
        raise _refused("path", "a config.json that names a model_type", str(file))
    if weights and not any(folder.glob("*.safetensors")):
        pickled = [f.name for f in sorted(folder.iterdir()) if f.suffix in (".bin", ".pt", ".pth")]
        found = f"pickle ({pickled[0]}), which could run code" if pickled else "none"
        raise _refused("path", f"*.safetensors in {folder}", found)
    if weights and given.get("quantization_config"):
        raise _refused("path", "weights that are not quantized", str(file))
    return {key: value for key, value in given.items() if key not in ELSEWHERE}


def architecture(model_type: str, signature: Signature) -> str:
    """The name of the class for such data; raises RecipeError where there is none."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto

    if isinstance(signature.inputs, Tokens):
        known, task = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, "language modeling"
    else:
        known, task = modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, "pictures"
    names = {str(key): name for key, name in known.items()}
    if model_type not in names or model_type not in CONFIG_MAPPING:
        hint = did_you_mean(model_type, names) or f"such as {', '.join(sorted(names)[:5])}"
        fault = Fault(
            "model.config.model_type", f"an architecture for {task}", model_type, hint=hint
        )
        raise RecipeError([fault])
    name = names[model_type]
    return name if isinstance(name, str) else name[0]


def complete(given: Mapping[str, Any], signature: Signature, *, typed: bool) -> PreTrainedConfig:
    """The config with vocabulary, labels and picture size from the data.

    With `typed`, a user wrote it: unknown keys and sizes that contradict the data are refused.
    """
    config = parsed(given)
    text, sizes = config.get_text_config(), data_sizes(signature)
    here = {key: value for key, value in sizes.items() if key in text.to_dict()}
    faults = [
        Fault(
            f"model.config.{key}",
            f"{value}, as the data has it",
            show(given[key]),
            hint="leave it out",
        )
        for key, value in here.items()
        if typed and key in given and given[key] != value
    ]
    if typed:
        faults += unknown_keys(given, config)
    if faults:
        raise RecipeError(faults)
    text.update(here)
    if isinstance(signature.inputs, Tokens):  # ids of another vocabulary: 0 as padding is no token
        text.update({"pad_token_id": None, "bos_token_id": None, "eos_token_id": None})
    return config


def parsed(given: Mapping[str, Any]) -> PreTrainedConfig:
    """The config that a mapping describes; raises RecipeError for values that it refuses."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING

    try:
        return CONFIG_MAPPING[given["model_type"]].from_dict(dict(given))
    except (StrictDataclassError, *REFUSALS) as error:
        raise _refused("config", "sizes that transformers accepts", _line(error)) from None


def data_sizes(signature: Signature) -> dict[str, Any]:
    """What the data decides, under the names of the hub."""
    inputs = signature.inputs
    if isinstance(inputs, Tokens):
        return {"vocab_size": inputs.vocab}
    if isinstance(inputs, Pixels):
        square = inputs.height == inputs.width
        side = inputs.height if square else [inputs.height, inputs.width]
        return {"num_channels": inputs.channels, "image_size": side}
    raise _refused("kind", "a model that takes columns", "hub")


def label(config: PreTrainedConfig, signature: Signature) -> None:
    """Name the classes in the config, in place."""
    labels = signature.labels or tuple(f"LABEL_{i}" for i in range(signature.outputs))
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: i for i, name in enumerate(labels)}


def misfits(config: PreTrainedConfig, signature: Signature) -> Iterable[Fault]:
    """What of the config, as it will be built, cannot take the data."""
    sizes, inputs = config.get_text_config().to_dict(), signature.inputs
    if isinstance(inputs, Tokens):
        alias = config.get_text_config().attribute_map
        limit = sizes.get(alias.get("max_position_embeddings", "max_position_embeddings"))
        if isinstance(limit, int) and limit < inputs.context:
            expected = f"max_position_embeddings >= the data's context ({inputs.context})"
            yield Fault("model.config", expected, str(limit))
        if sizes["vocab_size"] < inputs.vocab:
            expected = f"a vocabulary of at least {inputs.vocab} tokens"
            yield Fault("model.path", expected, f"weights for {sizes['vocab_size']}")
        return
    for key, value in data_sizes(signature).items():
        if key in sizes and sizes[key] != value:
            yield Fault("model.path", f"weights with {key} {value}", show(sizes[key]))
    patch = sizes.get("patch_size") if "image_size" in sizes else None
    height, width = (inputs.height, inputs.width) if isinstance(inputs, Pixels) else (0, 0)
    if isinstance(patch, int) and (height % patch or width % patch):
        expected = f"a patch_size that divides {height} x {width} pixels"
        yield Fault("model.config", expected, str(patch))


def unknown_keys(given: Mapping[str, Any], config: PreTrainedConfig) -> list[Fault]:
    """A fault for each key that the architecture does not have and would silently ignore."""
    from transformers import CONFIG_MAPPING

    known = {*CONFIG_MAPPING[given["model_type"]]().to_dict(), *config.attribute_map}
    known |= {"rope_theta"} if "rope_parameters" in known else set()  # its older spelling
    return [
        Fault(f"model.config.{key}", "no such key", show(value), hint=did_you_mean(key, known))
        for key, value in given.items()
        if key not in known
    ]


def _refused(key: str, expected: str, found: str) -> RecipeError:
    return RecipeError([Fault(f"model.{key}", expected, found)])


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
