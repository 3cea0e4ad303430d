"""Pruned decoders in a `config.json` of the hub, which knows one size for all layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zafu.edits.contract import Edit
from zafu.edits.half import Half
from zafu.errors import Fault, RecipeError

if TYPE_CHECKING:
    from torch import nn

WHOLE = frozenset({"shapes", "drop", "half", "adapters", "merged", "fake", "sparse"})
TYPES = {"bf16": "bfloat16", "fp16": "float16"}


def resized(config: Mapping[str, Any], decoder: nn.Module, edits: Sequence[Edit]) -> dict[str, Any]:
    """The config of a decoder after edits, which may be without memory.

    Raises RecipeError that names each part for which a config has no word.
    """
    faults = [
        Fault("hub", "layers that a config has words for", f"those of {edit.link}")
        for edit in edits
        if edit.kind not in WHOLE
    ]
    if faults:
        raise RecipeError(faults)
    layers = [
        _sizes(block, config["head_dim"])
        for block in decoder.get_submodule("model.layers").children()
    ]
    width = decoder.get_parameter("model.embed_tokens.weight").shape[1]
    found = {**config, **layers[0], "num_hidden_layers": len(layers), "hidden_size": width}
    if faults := list(_uneven(layers, found)):
        raise RecipeError(faults)
    for edit in edits:
        if isinstance(edit, Half):
            found["dtype"] = TYPES[edit.dtype]
    return found


def _sizes(block: nn.Module, head_dim: int) -> dict[str, int]:
    from zafu.nets.sparse import Sparse

    def rows(name: str) -> int:
        layer: Any = block.get_submodule(name)
        return layer.shape[0] if isinstance(layer, Sparse) else layer.out_features

    return {
        "num_attention_heads": rows("self_attn.q_proj") // head_dim,
        "num_key_value_heads": rows("self_attn.k_proj") // head_dim,
        "intermediate_size": rows("mlp.gate_proj"),
    }


def _uneven(layers: Sequence[Mapping[str, int]], found: Mapping[str, Any]) -> Iterator[Fault]:
    for index, layer in enumerate(layers):
        for name, size in layer.items():
            if size != found[name]:
                expected = f"{name} {found[name]} in model.layers.{index}, as in the first layer"
                hint = "prune all layers alike"
                yield Fault("hub", expected, str(size), hint=hint)
    heads, width = found["num_attention_heads"], found["hidden_size"]
    if width % heads:
        yield Fault("hub", f"a width that its {heads} heads divide", str(width))
