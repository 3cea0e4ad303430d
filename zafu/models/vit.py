"""ViT: a picture as a row of patches, read by a transformer. Sources: `zafu.nets.vit`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.errors import Fault
from zafu.models.contract import Depth, Model, inputs_of
from zafu.models.heads import divisors, heads_divide
from zafu.signature import Pixels, Signature

if TYPE_CHECKING:
    from zafu.nets.vit import ViT as Net


@final
class ViT(Model):
    """A small vision transformer; wants more data, or more augmentation, than a `convnet`."""

    kind: Literal["vit"] = "vit"
    ranges: ClassVar[dict[str, str]] = {"dropout": "0:0.6", "drop_path": "0:0.3"}
    takes: ClassVar[frozenset[str]] = frozenset({"pixels"})
    patch: int = Field(default=4, ge=1)
    """Pixels a side of each square patch, >= 1; a divisor of the picture's height and width."""
    width: int = Field(default=128, ge=1)
    """Size of the residual stream, >= 1; a multiple of `heads`."""
    layers: int = Field(default=6, ge=1)
    """Blocks, >= 1."""
    heads: int = Field(default=4, ge=1)
    """Attention heads, >= 1."""
    hidden: int | None = Field(default=None, ge=1)
    """Size inside each block's MLP; 4 times the width if not given."""
    pool: Literal["mean", "token"] = "mean"
    """What the head reads: the mean of all patches, or one learned token."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the embedding's and each branch's outputs set to 0 in training, 0 <= p < 1."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Share of samples for which the last layer's branches are skipped in training, 0 <= p < 1."""

    def check(self) -> Iterable[Fault]:
        """Heads must share the width evenly."""
        return heads_divide(self.width, self.heads, multiple=1)

    def fits(self, signature: Signature) -> Iterable[Fault]:
        """Patches must tile the picture."""
        inputs = signature.inputs
        if isinstance(inputs, Pixels) and (inputs.height % self.patch or inputs.width % self.patch):
            known = [str(n) for n in divisors(inputs.height) if inputs.width % n == 0]
            expected = f"a divisor of {inputs.height} x {inputs.width} pixels ({', '.join(known)})"
            yield Fault("patch", expected, str(self.patch))

    def build(self, signature: Signature) -> Net:
        """The module `(batch, channels, height, width) -> (batch, outputs)`."""
        from zafu.nets.vit import Shape
        from zafu.nets.vit import ViT as Net

        inputs = inputs_of(signature, Pixels)
        return Net(
            Shape(
                channels=inputs.channels,
                picture=(inputs.height, inputs.width),
                patch=self.patch,
                width=self.width,
                layers=self.layers,
                heads=self.heads,
                hidden=self.hidden or 4 * self.width,
                outputs=signature.outputs,
                pool=self.pool,
                dropout=self.dropout,
                drop_path=self.drop_path,
            )
        )

    def widths(self) -> dict[str, int]:
        """Heads, and the MLP's hidden units."""
        return {"model.heads": self.heads, "model.hidden": self.hidden or 4 * self.width}

    def depth(self) -> int:
        """The layers."""
        return self.layers

    def attends(self) -> bool:
        """It does."""
        return True

    def parameter_count(self, signature: Signature) -> int:
        """The number of parameters, in closed form."""
        found = self.by_depth(signature)
        return found.first + self.layers * found.block + found.last

    def by_depth(self, signature: Signature) -> Depth:
        """Sizes of the embedding, of a block and of norm and head, and of what passes through."""
        inputs = inputs_of(signature, Pixels)
        width, hidden = self.width, self.hidden or 4 * self.width
        patches = (inputs.height // self.patch) * (inputs.width // self.patch)
        tokens = patches + (self.pool == "token")
        first = (inputs.channels * self.patch**2 + 1) * width + tokens * width
        last = 2 * width + (width + 1) * signature.outputs
        return Depth(
            first=first,
            block=4 * (width + 1) * width + (width + 1) * hidden + (hidden + 1) * width + 4 * width,
            last=last,
            tied=0,
            stream=tokens * width,
            keys=0,
            answers=1,
            whole=(first, 6 * width, last),  # of a block: norms, and what rows add
        )
