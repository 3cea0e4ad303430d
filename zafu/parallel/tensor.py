"""Tensor parallel: several processes share each layer's matrices, by a plan from outside the model.

Parameters stay plain tensors, of which each process keeps its rows or columns; what passes between
processes are activations (`zafu.parallel.regions`). Where the plan cuts the stream in time, norms
and dropout work on a part of the tokens, and gradients of what is whole are parts of a sum.

Sources: `zafu.nets.width`. The plan is the net's own, or what `transformers` publishes for its
model (Wolf et al., 2019, arXiv:1910.03771), or made here: pairs of linear layers in a
`nn.Sequential` are recognized, and the outputs of any other linear layer are gathered.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple, cast, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional

from zafu.errors import Refused
from zafu.nets.decoder import Decoder
from zafu.nets.width import Plan, Style, Wide
from zafu.parallel import regions
from zafu.parallel.world import World

ELEMENTWISE = (
    nn.Dropout, nn.ELU, nn.GELU, nn.Hardswish, nn.Identity, nn.LeakyReLU, nn.Mish, nn.ReLU,
    nn.ReLU6, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Tanh,
)  # fmt: skip
PUBLISHED: dict[str, Style] = {  # styles of `transformers`
    "colwise": "column",
    "rowwise": "row",
    "colwise_gather_output": "gather",
    "embedding_rowwise": "vocabulary",
    "replicated_with_grad_allreduce": "partial",
}


class Cut(NamedTuple):
    """Which part of a parameter is here."""

    dim: int
    start: int
    size: int  # of the whole


class Shared(NamedTuple):
    """What became of a model: nothing, where it is alone on the tensor axis."""

    cuts: Mapping[str, Cut] = {}  # by the names of parameters
    partial: frozenset[str] = frozenset()  # whose gradients are to be summed over the axis
    sequence: bool = False  # whether processes have different tokens of the stream
    vocabulary: int | None = None  # the number of logits, where each process has a share of them


def apply(model: nn.Module, world: World) -> Shared:
    """In place: leave this process its share of the model's matrices.

    Comes before all else that is done to a model. Raises Refused, naming the layers, for what
    cannot be cut.
    """
    group = world.group("tensor")
    if group is None:
        return Shared()
    plan = planned(model)
    styles = _styles(model, plan)
    _refuse_unplanned(model, styles)
    knife = _Knife(group, world.index("tensor"), plan.sequence)
    entered = tuple(f"{name}." for name, style in styles.items() if style == "enter")
    for name, style in styles.items():
        if style not in ("partial", "whole"):
            knife.cut(model, name, style, enters=not name.startswith(entered))
    outputs = _outputs(model, styles)
    if isinstance(model, Decoder):
        outputs = model.shape.vocab
        _adapt(model, knife)
    knife.left.clear()  # what was there, whole
    cuts = {name: knife.done[p] for name, p in model.named_parameters() if p in knife.done}
    whole = {name for name, _ in model.named_parameters() if name not in cuts}
    inside = {name for name in whole if styles.get(name.rpartition(".")[0]) == "partial"}
    return Shared(cuts, frozenset(whole if plan.sequence else inside), plan.sequence, outputs)


def planned(model: nn.Module) -> Plan:
    """How a model is cut by width; raises Refused where there is no way."""
    if isinstance(model, Wide):
        return model.tensor_plan()
    if "transformers" in sys.modules:
        from transformers import PreTrainedModel

        if isinstance(model, PreTrainedModel):
            return _published(model)
    return _recognized(model)


def whole_in_eval(model: nn.Module, shared: Shared, world: World) -> None:
    """In place: in eval mode, give all logits on each process; in training mode, its share.

    For a model after `apply` that is not cut into stages.
    """
    group, size = world.group("tensor"), shared.vocabulary
    if group is None or size is None:
        return

    def after(module: nn.Module, _: object, logits: Tensor) -> Tensor | None:
        return None if module.training else regions.joined(logits, group, size)

    model.register_forward_hook(after)


def finish(parameters: Mapping[str, nn.Parameter], shared: Shared, world: World) -> None:
    """In place: add up the gradients of what is whole but saw a part, in one message."""
    group = world.group("tensor")
    found = [p.grad for name, p in parameters.items() if name in shared.partial]
    local = [g.to_local() if isinstance(g, DTensor) else g for g in found if g is not None]
    if group is None or not local:
        return
    flat = torch.cat([g.reshape(-1) for g in local])
    dist.all_reduce(flat, group=group)
    for gradient, total in zip(local, flat.split([g.numel() for g in local]), strict=True):
        gradient.copy_(total.view_as(gradient))


def _published(model: Any) -> Plan:
    """What `transformers` says of its model, whose head becomes that of a shared loss."""
    name, head = type(model).__name__, model.get_output_embeddings()
    styles: dict[str, Style] = {}
    for pattern, style in (model.tp_plan or {}).items():
        found = [m for n, m in model.named_modules() if re.fullmatch(_regex(pattern), n)]
        if not found:
            continue
        if style not in PUBLISHED:
            raise Refused(
                f"layout.tensor: {name}: {pattern} is planned as {style}, which is none of "
                f"{', '.join(PUBLISHED)}"
            )
        styles[pattern] = PUBLISHED[style]
        if found == [head] and head.out_features == model.outputs:
            styles[pattern] = "head"
    if not styles:
        raise Refused(f"layout.tensor: transformers publishes no tensor plan for {name}")
    return Plan(styles)


def _recognized(model: nn.Module) -> Plan:
    """Pairs of linear layers with nothing but functions of single numbers between them."""
    styles: dict[str, Style] = {}
    for name, module in model.named_modules():
        if type(module) is nn.Linear:
            styles.setdefault(name, "gather")
        if type(module) is nn.Embedding:
            styles[name] = "vocabulary"
        if type(module) is nn.Sequential:
            kept = [(n, m) for n, m in module.named_children() if not isinstance(m, ELEMENTWISE)]
            free = True
            for (first, one), (second, other) in pairwise(kept):
                if free and type(one) is nn.Linear and type(other) is nn.Linear:
                    prefix = f"{name}." if name else ""
                    styles[prefix + first], styles[prefix + second] = "column", "row"
                    free = False
                else:
                    free = True
    return Plan(styles)


def _regex(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", r"[^.]+")


def _styles(model: nn.Module, plan: Plan) -> dict[str, Style]:
    """The style of each module, and of each parameter that a plan names."""
    names = [name for name, _ in model.named_modules()]
    names += [name for name, _ in model.named_parameters()]
    styles: dict[str, Style] = {}
    for pattern, style in plan.styles.items():
        matched = [name for name in names if re.fullmatch(_regex(pattern), name)]
        if not matched:
            known = f"{type(model).__name__} has {', '.join(names[1:6])}, ..."
            raise Refused(f"layout.tensor: {pattern} of the tensor plan is no name: {known}")
        styles |= dict.fromkeys(matched, style)
    return styles


def _refuse_unplanned(model: nn.Module, styles: Mapping[str, Style]) -> None:
    left = [
        name
        for name, parameter in model.named_parameters()
        if parameter.dim() > 1
        and name not in styles
        and styles.get(name.rpartition(".")[0], "enter") == "enter"
    ]
    if left:
        raise Refused(
            f"layout.tensor: no plan says how to cut {', '.join(left[:6])} of "
            f"{type(model).__name__}; give the model a tensor_plan (zafu.nets.width)"
        )


def _outputs(model: nn.Module, styles: Mapping[str, Style]) -> int | None:
    heads = [model.get_submodule(name) for name, style in styles.items() if style == "head"]
    return cast("_Column", heads[0]).whole if heads else None


@final
class _Knife:
    """Cuts layers, each tied parameter once."""

    def __init__(self, group: dist.ProcessGroup, index: int, sequence: bool) -> None:
        self.group, self.index, self.sequence = group, index, sequence
        self.done: dict[nn.Parameter, Cut] = {}  # by what is left
        self.left: dict[nn.Parameter, nn.Parameter] = {}  # by what was there

    def enter(self, x: Tensor) -> Tensor:
        """What columns read."""
        if self.sequence:
            return regions.gathered(x, self.group, 1)
        return regions.copied(x, self.group)

    def leave(self, x: Tensor) -> Tensor:
        """The stream, from the part that this process has of a sum."""
        if self.sequence:
            return regions.scattered(x, self.group, 1)
        return regions.summed(x, self.group)

    def cut(self, model: nn.Module, name: str, style: Style, *, enters: bool) -> None:
        """In place: leave a layer what is this process's of it."""
        module: Any = model.get_submodule(name)
        if style == "enter":
            module.register_forward_pre_hook(self._entering)
            return
        if style == "vocabulary":
            self._cut_embedding(name, module)
            return
        if type(module) is not nn.Linear:  # another class may compute something else
            raise Refused(f"layout.tensor: {name}: expected Linear, found {type(module).__name__}")
        dim = 1 if style == "row" else 0
        even = style in ("column", "row")
        whole = self._share(name, module, "weight", dim=dim, even=even).size
        if dim == 0 and getattr(module, "bias", None) is not None:
            self._share(name, module, "bias", dim=0, even=style == "column")
        vars(module).update(knife=self, enters=enters, whole=whole)
        module.__class__ = KINDS[style]

    def _share(self, name: str, module: nn.Module, own: str, *, dim: int, even: bool) -> Cut:
        parameter = module.get_parameter(own)
        if parameter not in self.left:
            size, ranks = parameter.shape[dim], self.group.size()
            most = -(-size // ranks)
            if (even and size % ranks) or most * (ranks - 1) >= size:
                raise Refused(
                    f"layout.tensor: {name}.{own}: expected a size that {ranks} processes can "
                    f"share, found {size}; they could be {_divisors(size)}"
                )
            start = self.index * most
            part = parameter.detach().narrow(dim, start, min(most, size - start)).clone()
            self.left[parameter] = nn.Parameter(part, parameter.requires_grad)
            self.done[self.left[parameter]] = Cut(dim, start, size)
        setattr(module, own, self.left[parameter])
        return self.done[self.left[parameter]]

    def _cut_embedding(self, name: str, module: nn.Module) -> None:
        """Hooks, not another class: some models scale what they look up."""
        if not isinstance(module, nn.Embedding) or module.max_norm is not None:
            raise Refused(f"layout.tensor: {name}: expected an Embedding without max_norm")
        start = self._share(name, module, "weight", dim=0, even=False).start
        rows, absent = len(module.weight), list[Tensor]()
        padding = -1 if module.padding_idx is None else module.padding_idx - start
        module.padding_idx = padding if 0 <= padding < rows else None

        def before(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            places = inputs[0] - start
            absent[:] = [(places < 0) | (places >= rows)]
            return (places.masked_fill(absent[0], 0),)

        def after(_: nn.Module, __: object, found: Tensor) -> Tensor:
            return self.leave(found.masked_fill(absent.pop().unsqueeze(-1), 0))

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)

    def _entering(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.enter(inputs[0]), *inputs[1:])


class _Column(nn.Linear):
    """This process's outputs of a linear layer."""

    knife: _Knife
    enters: bool
    whole: int  # outputs of all processes, or inputs

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Its share `(..., outputs / n)` of what the layer gives."""
        x = self.knife.enter(x) if self.enters else x
        return functional.linear(x, self.weight, self.bias)


class _Gather(_Column):
    """All outputs, of which this process computes its share."""

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the layer gives."""
        return regions.joined(super().forward(x), self.knife.group, self.whole)


class _Row(_Column):
    """This process's term of a sum."""

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the layer gives for inputs `(..., inputs / n)`; cut in time where the stream is."""
        out = self.knife.leave(functional.linear(x, self.weight))
        return out if self.bias is None else out + self.bias  # pyright: ignore[reportUnnecessaryComparison]


KINDS: dict[Style, type[_Column]] = {
    "column": _Column,
    "row": _Row,
    "gather": _Gather,
    "head": _Column,
}


def _adapt(model: Decoder, knife: _Knife) -> None:
    """Positions of what attention sees, and the head of tied embeddings, in place."""
    ranks = knife.group.size()

    def positions(x: Tensor, start: int) -> Tensor:
        if start:
            raise Refused("layout.tensor: expected 1 for decoding with a cache")
        return torch.arange(ranks * x.shape[1], device=x.device)

    def project(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002
        return functional.linear(knife.enter(input), weight, bias)

    model.positions = positions
    model.project = project


def _divisors(size: int) -> str:
    return ", ".join(str(n) for n in range(1, size + 1) if size % n == 0)
