"""What deep residual nets share: stochastic depth, and recomputing a block instead of storing it.

Huang et al., 2016 (arXiv:1603.09382): a residual branch is skipped for a sample with a probability
that grows linearly with depth. We divide by the share kept while training, so that evaluation
needs no factor. Chen et al., 2016 (arXiv:1604.06174): activations are computed again in backward.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, is_grad_enabled
from torch.utils.checkpoint import checkpoint


@runtime_checkable
class Recomputing(Protocol):
    """A net that can compute its activations again in backward; it does so where this is True."""

    recompute: bool


class Parts(NamedTuple):
    """Where a net may be cut by depth: dotted names of its children and own parameters."""

    blocks: str  # a ModuleList, every entry of which takes and gives the stream
    first: tuple[str, ...]  # what `enter` uses
    last: tuple[str, ...]  # what `leave` uses; a name that is in `first` too is a tied one


@runtime_checkable
class Deep(Protocol):
    """A net whose answer is `leave(along(enter(*inputs)))`, and which may be cut between blocks."""

    def parts(self) -> Parts:
        """Which names belong where."""
        ...

    def enter(self, *inputs: Any) -> Tensor:
        """The stream `(batch, ...)` before the first block."""
        ...

    def along(self, x: Tensor) -> Tensor:
        """The stream after the blocks that are here."""
        ...

    def leave(self, x: Tensor) -> Tensor:
        """The answer from the stream after the last block."""
        ...


def drop_path(branch: Tensor, rate: float, *, training: bool) -> Tensor:
    """The branch `(batch, ...)` with whole samples set to 0, the others divided by `1 - rate`.

    Each sample is dropped with probability `rate`, 0 <= rate < 1; unchanged unless training.
    """
    if not training or rate == 0:
        return branch
    keep = 1 - rate
    shape = (len(branch),) + (1,) * (branch.dim() - 1)
    return branch * (branch.new_empty(shape).bernoulli_(keep) / keep)


def drop_path_rates(last: float, layers: int) -> list[float]:
    """One rate a layer, growing linearly up to `last` for the last layer (the paper's rule)."""
    return [last * (layer + 1) / layers for layer in range(layers)]


def run(block: Callable[..., Tensor], *inputs: object, recompute: bool) -> Tensor:
    """The output of `block(*inputs)`; with `recompute`, backward runs the block a second time.

    Gradients are the same to the bit: the random state is restored for the second run.
    """
    if recompute and is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)
