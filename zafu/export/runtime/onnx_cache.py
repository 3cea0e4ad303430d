"""ONNX of a decoder: one graph that reads a text, and then goes on token by token.

Beside `tokens` it takes keys and values of all layers, of any length, none at first, and gives them
back longer: a function without state, as `present.0.keys` of one call is `past.0.keys` of the next.
"""

from __future__ import annotations

from typing import Any, cast, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from zafu.export.contract import Source
from zafu.export.runtime import graph
from zafu.nets.decoder import Block, Decoder

MOST = 2**20  # tokens of a past, in the graph's bounds


@final
class WithPast(nn.Module):
    """A decoder as a function of tokens and of what was read before them."""

    def __init__(self, module: Decoder) -> None:
        super().__init__()
        self.module = module

    def forward(self, tokens: Tensor, past: list[Tensor]) -> tuple[Tensor, ...]:
        """Logits `(batch, time, vocab)`, then keys and values of each layer.

        Where attention ends at a document the past's last tensor says where one begins,
        `(batch, past)` int64.
        """
        end, cache = self.module.shape.end, self.module.new_cache()
        for index, layer in enumerate(cache):
            layer.keys, layer.values = past[2 * index], past[2 * index + 1]
        before, time = past[0].shape[2], tokens.shape[1]
        places = torch.arange(before + time, device=tokens.device)
        mask = (places[None] <= places[before:, None])[None, None]
        begins = list[Tensor]()
        if end is not None:
            begins = [torch.cat([past[-1], (tokens == end).long()], 1)]
            documents = begins[0].cumsum(1)
            mask = mask & (documents[:, None, before:, None] == documents[:, None, None, :])
        logits = self.module.leave(self.module.along(self.module.enter(tokens), cache, mask))
        held = [cast(Tensor, x) for layer in cache for x in (layer.keys, layer.values)]
        return (logits, *held, *begins)


def graph_of(source: Source, module: Decoder) -> ExportedProgram:
    """The graph of a decoder with a past of any length."""
    sizes, past = graph.dimensions(source), example(cast(Decoder, source.module), batch=2, time=3)
    free = dims(past, sizes[0][0], Dim("past", min=0, max=MOST))
    return graph.captured(WithPast(module), (*graph.first(source, 2), past), (*sizes, free))


def names(module: Decoder, when: str) -> list[str]:
    """The names of keys and values, `past` or `present`."""
    many = len(module.model.layers)
    found = [f"{when}.{i}.{what}" for i in range(many) for what in ("keys", "values")]
    return found if module.shape.end is None else [*found, f"{when}.begins"]


def example(module: Decoder, *, batch: int, time: int) -> list[Tensor]:
    """A past of so many tokens."""
    dim, found = module.shape.width // module.shape.heads, list[Tensor]()
    for block in cast("list[Block]", list(module.model.layers)):
        heads = block.self_attn.k_proj.out_features // dim
        found += [torch.randn(batch, heads, time, dim) for _ in range(2)]
    if module.shape.end is not None:
        found.append(torch.zeros(batch, time, dtype=torch.int64))
    return found


def dims(past: list[Tensor], batch: Any, length: Any) -> list[dict[int, Any]]:
    """Which dims of a past may have any size."""
    return [{0: batch, 1 if x.dim() == 2 else 2: length} for x in past]


def nothing(session: Any, batch: int) -> dict[str, np.ndarray]:
    """A past without tokens, for a session's inputs; empty where it takes none."""
    found = dict[str, np.ndarray]()
    for one in session.get_inputs():
        if one.name.startswith("past."):
            kind = np.int64 if one.name.endswith("begins") else np.float32
            sizes = (batch, 0) if len(one.shape) == 2 else (batch, one.shape[1], 0, one.shape[3])
            found[one.name] = np.zeros(sizes, kind)
    return found


@final
class Teller:
    """A session that keeps what it has read of one text, in the runtime's own tensors."""

    def __init__(self, session: Any, context: int) -> None:
        self._session, self.context = session, context
        self._given = [one.name for one in session.get_outputs()]
        self.forget()

    def read(self, tokens: np.ndarray) -> np.ndarray:
        """Logits `(vocab,)` of the token behind these `(time,)`, which follow those of before."""
        from onnxruntime import OrtValue

        given = {"tokens": OrtValue.ortvalue_from_numpy(tokens[None].astype(np.int64))}
        found = self._session.run_with_ort_values(None, given | self._past)
        held = zip(self._given[1:], found[1:], strict=True)
        self._past = {f"past.{name.removeprefix('present.')}": x for name, x in held}
        return found[0].numpy()[0, -1]

    def forget(self) -> None:
        """What follows begins anew."""
        from onnxruntime import OrtValue

        empty = nothing(self._session, 1).items()
        self._past: dict[str, Any] = {k: OrtValue.ortvalue_from_numpy(x) for k, x in empty}
