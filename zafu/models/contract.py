"""The contract of a model: what it takes, how many parameters it has, and the module itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from zafu.errors import Fault, RecipeError
from zafu.signature import Columns, Pixels, Signature, Tokens
from zafu.spec import Family

if TYPE_CHECKING:
    from torch import nn

Inputs = TypeVar("Inputs", Tokens, Pixels, Columns)


class Depth(NamedTuple):
    """A model by depth, in numbers: what a layout's costs follow from."""

    first: int  # parameters before the blocks
    block: int  # parameters of each block
    last: int  # parameters behind the blocks, without those that `first` has too
    tied: int  # parameters that stand before and behind the blocks
    stream: int  # numbers that pass from block to block, for each sample
    keys: int  # numbers of keys and values in each block, for each sample; 0: none
    answers: int  # for each sample; those of a language model are its tokens
    whole: tuple[int, int, int]  # of first, a block and last: what tensor parallelism does not cut


class Model(Family):
    """A network; the module that it builds knows no device, rank or mesh."""

    kind: str
    takes: ClassVar[frozenset[str]]  # the kinds of inputs that it accepts: tokens, pixels, columns

    def fits(self, signature: Signature) -> Iterable[Fault]:
        """Faults of these settings with such data; paths are relative to the model."""
        return ()

    def suits(self, task: str) -> Iterable[Fault]:
        """Faults of these settings with a kind of task; paths are relative to the model."""
        return ()

    @abstractmethod
    def build(self, signature: Signature) -> nn.Module:
        """The module, initialized from torch's current random state.

        Called as `module(*batch.inputs)` it gives logits `(batch, outputs)`, or for tokens
        `(batch, time, outputs)`.
        """

    def parameter_count(self, signature: Signature) -> int:
        """The number of trainable parameters that `build` gives."""
        import torch

        with torch.device("meta"):
            module = self.build(signature)
        return sum(p.numel() for p in module.parameters())

    def widths(self) -> dict[str, int] | None:
        """The sizes, by names of settings, that tensor parallelism divides; {}: it has no plan.

        None: the module is asked when it is built (`zafu.nets.width`).
        """
        return None

    def depth(self) -> int:
        """How many blocks a pipeline may deal to its stages; 0: the model cannot be cut."""
        return 0

    def by_depth(self, signature: Signature) -> Depth | None:
        """The model by depth, in closed form; None: it has no such form."""
        return None

    def cuts_stream(self) -> bool:
        """Whether tensor parallelism cuts the stream of tokens in time (sequence parallel)."""
        return False

    def cuts_windows(self) -> bool:
        """Whether a window of tokens may be spread over processes."""
        return False

    def sees_documents(self) -> bool:
        """Whether every block needs the tokens, which later stages of a pipeline do not have."""
        return False

    def random_paths(self) -> bool:
        """Whether training skips samples in some layers, on which ranks would have to agree."""
        return False

    def attends(self) -> bool:
        """Whether the net says where its last block looks (`zafu.nets.attending`)."""
        return False

    def transfers(self) -> bool:
        """Whether its steps follow its width, for which the optimizer needs a rule."""
        return False

    def hub_config(self, signature: Signature) -> dict[str, Any] | None:
        """The `config.json` with which `transformers` loads the weights, if it can."""
        return None


def inputs_of(signature: Signature, wanted: type[Inputs]) -> Inputs:
    """The inputs of a signature; raises RecipeError if they are of another kind."""
    if not isinstance(signature.inputs, wanted):
        expected = f"a model that takes {signature.inputs.kind}"
        raise RecipeError([Fault("model.kind", expected, f"one of {wanted.__name__.lower()}")])
    return signature.inputs
