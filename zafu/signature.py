"""What data gives and a model takes: the shape of one sample, and what is to be predicted.

A signature is what a model needs to know of its data; it is stored beside the weights, so that
the model is built again without the data.
"""

from typing import Literal

from pydantic import Field

from zafu.spec import Spec


class Tokens(Spec):
    """A window of token ids, `(batch, time)`; the target of each is the token that follows it."""

    kind: Literal["tokens"] = "tokens"
    vocab: int = Field(ge=2)
    """Number of different tokens."""
    context: int = Field(ge=1)
    """Most tokens in a window."""
    end: int = Field(default=0, ge=0)
    """The token that stands before and after each document."""


class Pixels(Spec):
    """A picture of floats, `(batch, channels, height, width)`."""

    kind: Literal["pixels"] = "pixels"
    channels: int = Field(ge=1)
    height: int = Field(ge=1)
    width: int = Field(ge=1)


class Columns(Spec):
    """A row of a table: floats `(batch, numbers)` and indices `(batch, len(categories))`."""

    kind: Literal["columns"] = "columns"
    numbers: int = Field(ge=0)
    """Numeric columns."""
    categories: tuple[int, ...] = ()
    """For each categorical column the number of its values, the one for "unknown" included."""


class Signature(Spec):
    """One sample's inputs, and how many numbers the model answers for each target."""

    inputs: Tokens | Pixels | Columns = Field(discriminator="kind")
    outputs: int = Field(ge=1)
    """Classes, tokens of the vocabulary, or numbers to predict."""
    labels: tuple[str, ...] = ()
    """Names of the classes or of the predicted columns, in order; empty for tokens."""
