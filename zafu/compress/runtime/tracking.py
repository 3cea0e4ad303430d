"""Tracking: which layers read what which layers write, found by changing numbers and looking.

Fang et al., 2023 (arXiv:2301.12900), follow operators by their names, and must know each. Here the
module runs on samples while every layer that mixes its inputs (linear, convolution, embedding,
attention) gives the same noise whatever it reads. If one of its outputs is then changed, what else
changes depends on that output alone: through additions, products, gates, reshapes, concatenations,
and within heads through attention.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zafu.nets.surgery import depthwise, tensor_of

Mixing = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)
Norms = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)
Seen = dict[str, Tensor]  # by layer, whether each of the channels that it reads has changed
SAMPLES, TOKENS = 4, 16
ANSWER = ""  # what the model says, as a layer of one channel that reads


def mixes(layer: nn.Module) -> bool:
    """Whether each output depends on many inputs."""
    if isinstance(layer, Mixing):
        return getattr(layer, "groups", 1) == 1
    return isinstance(layer, nn.MultiheadAttention)


def passes(layer: nn.Module) -> bool:
    """Whether each output is its input's, by numbers of that channel; sums over all set aside."""
    if isinstance(layer, (nn.LayerNorm, nn.RMSNorm)):
        return len(layer.normalized_shape) == 1
    return isinstance(layer, Norms) or depthwise(layer)


def channel_dim(layer: nn.Module, x: Tensor) -> int:
    """The dim in which a layer has its channels."""
    if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return x.dim() + 1 - layer.weight.dim()
    last = (nn.Linear, nn.Embedding, nn.MultiheadAttention, nn.LayerNorm, nn.RMSNorm)
    return x.dim() - 1 if isinstance(layer, last) else 1


class Run(NamedTuple):
    """One run: which outputs of which layer are changed, and what is seen of it."""

    name: str
    units: Tensor | None
    calls: dict[str, int]  # the number of the last call of each layer
    seen: Seen


class Probe:
    """A module whose layers are cut from each other, and what they read when nothing is changed."""

    def __init__(self, root: nn.Module, inputs: Sequence[Tensor]) -> None:
        self.root, self.inputs = root, few(inputs)
        layers = dict(root.named_modules())
        inside = {
            f"{name}.{child}"
            for name, layer in layers.items()
            if isinstance(layer, nn.MultiheadAttention)
            for child, _ in layer.named_modules()
        }
        known = {n: m for n, m in layers.items() if n and (mixes(m) or passes(m))}
        self.layers = {name: layer for name, layer in known.items() if name not in inside}
        self.said: dict[str, list[Tensor]] = {}
        self.read: dict[str, list[Tensor]] = {}
        self._noise = torch.Generator().manual_seed(0)
        self.run()
        self.order = {name: index for index, name in enumerate(self.read)}
        self.width = {
            name: calls[0].shape[channel_dim(known[name], calls[0])]
            for name, calls in self.said.items()
            if mixes(known[name])
        }

    def run(self, name: str = "", units: Tensor | None = None) -> Seen:
        """What is read otherwise where these outputs of a layer, `(outputs,)`, are changed."""
        run = Run(name, units, {}, {})
        with torch.no_grad(), ExitStack() as stack:
            for own, layer in self.layers.items():
                see, give = partial(self._see, own, run), partial(self._give, own, run)
                stack.callback(layer.register_forward_pre_hook(see, with_kwargs=True).remove)
                stack.callback(layer.register_forward_hook(give, with_kwargs=True).remove)
            answer = self.root(*self.inputs)
        self.read.setdefault(ANSWER, [answer])
        run.seen[ANSWER] = _moved(answer, self.read[ANSWER][0], None)
        return run.seen

    def with_numbers(self, name: str, dim: int, units: Tensor) -> Seen:
        """What is read otherwise where these entries of a parameter or buffer are changed."""
        tensor = tensor_of(self.root, name)
        before = tensor.detach().clone()
        with torch.no_grad():
            tensor.copy_(_changed(before, dim, units, torch.ones((), device=before.device)))
            try:
                return self.run()
            finally:
                tensor.copy_(before)

    def _see(self, name: str, run: Run, layer: nn.Module, args: Any, named: Any) -> None:
        x, dim = _only(args, named), channel_dim(layer, _only(args, named))
        if isinstance(layer, nn.MultiheadAttention):  # as one channel: it is left as it is
            several = (*args, *named.values())[:3]
            x, dim = torch.cat([t.flatten() for t in several]), None
        call = run.calls[name] = run.calls.get(name, -1) + 1
        if call == len(self.read.setdefault(name, [])):
            self.read[name].append(x.clone())  # what comes behind may change it in place
        if not isinstance(layer, nn.Embedding):
            moved = _moved(x, self.read[name][call], dim)
            run.seen[name] = moved | run.seen.get(name, torch.zeros_like(moved))

    def _give(
        self, name: str, run: Run, layer: nn.Module, args: Any, named: Any, output: Any
    ) -> Any:
        if not mixes(layer) and not depthwise(layer):
            return _only(args, named).clone()
        own = output[0] if isinstance(output, tuple) else output
        said, call = self.said.setdefault(name, []), run.calls[name]
        if call == len(said):  # of both signs, so that nothing that bends cuts off
            noise = torch.randn(own.shape, generator=self._noise).to(own)
            said.append((own + noise).abs() * _signs(own, 2) - (own if depthwise(layer) else 0))
        if depthwise(layer):  # its channels stay what they are, but elsewhere
            return own + said[call]
        own = said[call].clone()
        if run.name == name and run.units is not None:
            own = _changed(own, channel_dim(layer, own), run.units, _signs(own, 1))
        return (own, *output[1:]) if isinstance(output, tuple) else own


def few(inputs: Sequence[Tensor]) -> list[Tensor]:
    """As many samples as there are cases of signs; of texts their beginnings."""
    if len(inputs) == 1 and not inputs[0].is_floating_point():
        inputs = [inputs[0][:, :TOKENS]]
    return [x[torch.arange(SAMPLES, device=x.device) % len(x)] for x in inputs]


def _signs(x: Tensor, rows: int) -> Tensor:
    """1 for so many rows of the first dim, then -1 for as many, and so on."""
    return 1 - 2 * (torch.arange(len(x)) // rows % 2).view(-1, *[1] * (x.dim() - 1)).to(x)


def _only(args: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor:
    return args[0] if args else next(iter(named.values()))


def _changed(x: Tensor, dim: int, units: Tensor, sign: Tensor) -> Tensor:
    """Other numbers in these entries, each by an amount of its own."""
    random = torch.Generator().manual_seed(1)
    size = (2 * x.abs() + 1) * (1 + torch.rand(x.shape, generator=random).to(x))
    only = units.view([-1 if d == dim else 1 for d in range(x.dim())]).to(x)
    return x + size * sign * only


def _moved(x: Tensor, before: Tensor, dim: int | None) -> Tensor:
    """Which channels are not as before; `dim` None: whether anything is not."""
    if torch.equal(x, before):
        return torch.zeros(1 if dim is None else x.shape[dim], dtype=torch.bool)
    far = ((x - before).abs() > 1e-5 * (1 + before.abs())).cpu()
    return far.any().view(1) if dim is None else far.movedim(dim, 0).flatten(1).any(1)


Change = Callable[[Tensor], Seen]


def dependence(change: Change, count: int) -> Mapping[str, Tensor]:
    """By layer, `(channels read, outputs)`: on which of `count` outputs each channel may depend.

    As many changes as there are binary digits find a channel that reads one output; those that
    read many, as in heads, are told from more by changing one output at a time.
    """
    touched = {name: seen for name, seen in change(torch.ones(count)).items() if seen.any()}
    if not touched:
        return {}
    digits = torch.arange(max(1, (count - 1).bit_length()))
    bits = (torch.arange(count) >> digits[:, None]) & 1
    rows = torch.cat([bits, 1 - bits])
    found = _decoded(change, rows[rows.any(1)], touched)
    if all((of.sum(1) <= 1).all() for of in found.values()):
        return found
    for unit in (0, count - 1):
        single = torch.arange(count) == unit
        if any((change(single)[name] != of[:, unit]).any() for name, of in found.items()):
            return _decoded(change, torch.eye(count), touched)
    return found


def _decoded(change: Change, rows: Tensor, touched: Seen) -> dict[str, Tensor]:
    """A channel does not depend on the outputs whose change left it as it was."""
    seen = [change(row) for row in rows]
    found = dict[str, Tensor]()
    for name, channels in touched.items():
        still = torch.stack([~of[name] for of in seen], 1).float()  # (channels, rows)
        found[name] = (still @ rows.float() == 0) & channels[:, None]
    return found


@contextmanager
def without_statistics(layers: Sequence[nn.Module]) -> Generator[None]:
    """Let norms only scale and shift, while this is open: then what goes does not move the rest."""

    def plain(layer: Any, args: tuple[Tensor], _: Tensor) -> Tensor:
        x = args[0]
        shape = [-1 if d == channel_dim(layer, x) else 1 for d in range(x.dim())]
        scaled = x if layer.weight is None else x * layer.weight.view(shape)
        bias = layer._parameters.get("bias")
        return scaled if bias is None else scaled + bias.view(shape)

    handles = [layer.register_forward_hook(plain) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
