"""What a `transformers` model says of its inside: attention, and the states between its layers."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from torch import Tensor, nn

from zafu.explain.runtime.subject import Inputs


class States(NamedTuple):
    """What was made on the way to an answer."""

    streams: list[Tensor]  # after each layer, `(1, ...)`
    said: Tensor  # logits


def adapted(module: nn.Module) -> bool:
    """Whether it is one of theirs; whoever has none has not loaded the package."""
    package = sys.modules.get("transformers")
    return package is not None and isinstance(module, package.PreTrainedModel)


def states_of(module: Any, inputs: Inputs) -> States:
    """States, with the graph that leads to the logits."""
    found = _whole(module, inputs, output_hidden_states=True)
    return States(list(found.hidden_states), found.logits[..., : module.outputs])


def attention_of(module: Any, inputs: Inputs) -> list[Tensor]:
    """Of each layer who looks at whom, `(heads, tokens, tokens)`; rows add up to 1."""
    before = module.config._attn_implementation
    module.set_attn_implementation("eager")  # the kernel that keeps what it weighs by
    try:
        found = _whole(module, inputs, output_attentions=True)
    finally:
        module.set_attn_implementation(before)
    return [layer[0] for layer in found.attentions if layer is not None]


def _whole(module: Any, inputs: Inputs, **wanted: bool) -> Any:
    """All of an answer, past the hooks that leave logits alone."""
    return type(module).forward(module, **{module.main_input_name: inputs[0]}, **wanted)
