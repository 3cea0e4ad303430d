"""Where a net may be cut by width, so that several processes share each layer's matrices.

Shoeybi et al., 2019 (arXiv:1909.08053): a matrix that is cut by rows and the next one by columns
need one sum over processes for the pair. Korthikanti et al., 2022 (arXiv:2205.05198): between
such pairs the stream of tokens can be cut in time.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, runtime_checkable

Style = Literal["enter", "column", "row", "gather", "vocabulary", "head", "partial", "whole"]


class Plan(NamedTuple):
    """What becomes of each module or parameter of a net.

    Keys are dotted names, where `*` stands for one part. The styles:

    - `enter`: this module's first input is what the columns below it read; it is fetched once.
    - `column`: a linear layer, cut by outputs; they stay cut, for a `row` that follows.
    - `row`: a linear layer, cut by inputs; its outputs are summed over the processes.
    - `gather`: a linear layer, cut by outputs, which are put together again.
    - `vocabulary`: an embedding, cut by tokens.
    - `head`: a linear layer, cut by outputs, which are the net's logits and stay cut for the loss.
    - `partial`: all of it on each process, where it sees a part of what there is, as between
      `column` and `row`.
    - `whole`: all of it on each process, which all compute the same.
    """

    styles: Mapping[str, Style]
    sequence: bool = False  # whether the stream `(batch, time, width)` between them is cut in time


@runtime_checkable
class Wide(Protocol):
    """A net that says how it may be cut by width."""

    def tensor_plan(self) -> Plan:
        """The style of each of its layers; what has no name in it must be norms and biases."""
        ...
