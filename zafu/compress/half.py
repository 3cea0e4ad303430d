"""16-bit floats: half the bytes at no loss that one sees, and faster where a device has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, final

from zafu.compress.contract import Compression, Reshaping, Work, whole
from zafu.edits.contract import Edit
from zafu.edits.half import Half as Edited
from zafu.errors import Fault


class _Half(Reshaping):
    fixes: ClassVar[bool] = True

    def after(self, before: Iterable[Compression]) -> Iterable[Fault]:
        """It casts what is there; integers have scales of their own."""
        return whole(tuple(before), self.kind)

    def apply(self, work: Work) -> Iterable[Edit]:
        """The type."""
        edit = Edited(dtype=self.kind)  # pyright: ignore[reportArgumentType]
        edit.apply(work.model)
        return (edit,)


@final
class BFloat16(_Half):
    """All weights and arithmetic in bfloat16: the range of float32, three digits."""

    kind: Literal["bf16"] = "bf16"


@final
class Float16(_Half):
    """All weights and arithmetic in float16: more digits, a range that can be left."""

    kind: Literal["fp16"] = "fp16"
