"""A `transformers` model that is called like our own nets, under its own parameter names.

The model is kept as it is: torch's module hooks, not a wrapper around it, turn `model(tensor)` into
logits, so that no name of a parameter gets a prefix and a state dict is the hub's own.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


def adapt(model: PreTrainedModel, *, outputs: int, context: int | None) -> PreTrainedModel:
    """Let the model, in place, answer a tensor of its main input with logits `(..., outputs)`.

    A vocabulary that was padded is cut to `outputs`. For tokens, `context` becomes an attribute.
    Where the model can recompute activations, it gets the plain attribute `recompute`, as our nets
    have it. A tied parameter stands in its state dict once, under the name that hub files use.
    """
    vars(model)["context"] = context
    vars(model)["outputs"] = outputs
    if model.supports_gradient_checkpointing:
        vars(model)["recompute"] = False
        model.register_forward_pre_hook(_recompute)
    model.register_forward_pre_hook(_by_name, with_kwargs=True)
    model.register_forward_hook(partial(_logits, outputs=outputs))
    model.register_state_dict_post_hook(_drop_ties)
    model.register_load_state_dict_pre_hook(_add_ties)
    return model


def adapt_stage(stage: PreTrainedModel, *, first: bool, last: bool) -> None:
    """Let a copy of an adapted model's outer modules, in place, be called as a pipeline's stage.

    The first stage takes tokens, the others `(batch, time, width)`, which all but the last give.
    What the model does outside of its layers must leave that stream as it is.
    """
    for hooks in (stage._forward_pre_hooks, stage._forward_pre_hooks_with_kwargs):
        hooks.clear()
    stage._forward_hooks.clear()
    if stage.supports_gradient_checkpointing:
        stage.register_forward_pre_hook(_recompute)
    vars(stage)["forward"] = partial(_along, stage, first=first, last=last)


def _along(stage: PreTrainedModel, x: Tensor, *, first: bool, last: bool) -> Tensor:
    named = {"input_ids" if first else "inputs_embeds": x}
    if not last:
        return stage.base_model(**named).last_hidden_state
    return type(stage).forward(stage, **named).logits[..., : stage.outputs]


def _recompute(model: PreTrainedModel, _: object) -> None:
    if model.recompute != model.is_activation_checkpointing:
        _switch(model)


@torch.compiler.disable
def _switch(model: PreTrainedModel) -> None:
    if model.recompute:
        model.activation_checkpointing_enable({"use_reentrant": False})
    else:
        model.activation_checkpointing_disable()


def _by_name(
    model: PreTrainedModel, args: tuple[Tensor], kwargs: dict[str, Any]
) -> tuple[tuple[()], dict[str, Any]]:
    """Pass the one tensor by the name that this model gives its main input."""
    return (), {**dict(zip([model.main_input_name], args, strict=False)), **kwargs}


def _logits(_: nn.Module, _inputs: object, output: Any, *, outputs: int) -> Tensor:
    return output.logits[..., :outputs]


def _ties(model: nn.Module) -> dict[str, str]:
    """The further names of shared parameters, each with the first name."""
    first = {id(p): name for name, p in model.named_parameters()}
    every = model.named_parameters(remove_duplicate=False)
    return {name: first[id(p)] for name, p in every if first[id(p)] != name}


def _drop_ties(model: nn.Module, state: dict[str, Any], prefix: str, _: object) -> None:
    for name in _ties(model):
        state.pop(prefix + name, None)


def _add_ties(model: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    for name, first in _ties(model).items():
        if prefix + first in state:
            state.setdefault(prefix + name, state[prefix + first])
