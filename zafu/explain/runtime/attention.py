"""Who looks at whom: the weights of attention, which fused kernels do not keep, computed again."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from zafu.explain.runtime.hub import adapted, attention_of
from zafu.explain.runtime.subject import Subject
from zafu.nets import decoder, vit
from zafu.nets.ensemble import Ensemble

Attending = vit.Attention | decoder.Attention


def no_attention(module: nn.Module) -> str:
    """Why weights of attention cannot be had; "" where they can."""
    if isinstance(module, Ensemble):
        return "expected one net, found an ensemble, whose members attend each for itself"
    if adapted(module):
        kind = type(module).__name__
        plain = any("attention" in type(m).__name__.lower() for m in module.modules())
        return "" if plain else f"expected a net with attention, found {kind}"
    if not _layers(module):
        return f"expected a net with attention, found {type(module).__name__}"
    return ""


def attention(subject: Subject) -> list[Tensor]:
    """Of each layer `(heads, tokens, tokens)`: a row says where a token looks."""
    module = subject.network
    with torch.no_grad():
        if adapted(module):
            return [x.float().cpu() for x in attention_of(module, subject.inputs)]
        found: list[Tensor] = []
        with ExitStack() as stack:
            for layer in _layers(module):

                def keep(_: nn.Module, args: tuple[Any, ...], of: Attending = layer) -> None:
                    found.append(_weights(of, args).cpu())

                stack.callback(layer.register_forward_pre_hook(keep).remove)
            subject.said(*subject.inputs)
    return found


def rolled(layers: list[Tensor]) -> Tensor:
    """From where each token has what it has at the end, `(tokens, tokens)`; rows add up to 1.

    Heads are averaged, and each layer keeps half of what it reads, as its shortcut does.
    """
    flow = torch.eye(layers[0].shape[-1])
    for layer in layers:
        mixed = (layer.mean(0) + torch.eye(len(flow))) / 2
        flow = mixed @ flow
    return flow


def _layers(module: nn.Module) -> list[Attending]:
    return [x for x in module.modules() if isinstance(x, (vit.Attention, decoder.Attention))]


def _weights(layer: Attending, args: tuple[Any, ...]) -> Tensor:
    x = args[0]
    split = (-1, layer.head_dim)
    q = layer.q_proj(x).unflatten(-1, split)
    k = layer.k_proj(x).unflatten(-1, split)
    mask: Tensor | None = None
    if isinstance(layer, decoder.Attention):
        _, rope, _, mask = args
        if layer.q_norm is not None and layer.k_norm is not None:
            q, k = layer.q_norm(q), layer.k_norm(k)
        q, k = (decoder.rotate(y.transpose(1, 2), rope) for y in (q, k))
        k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
        if mask is None:
            time = x.shape[1]
            mask = torch.ones(time, time, dtype=torch.bool, device=x.device).tril()
    else:
        q, k = q.transpose(1, 2), k.transpose(1, 2)
    scores = (q @ k.transpose(2, 3)).float() / math.sqrt(layer.head_dim)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1)[0]
