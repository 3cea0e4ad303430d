"""Compressed: a model whose form has changed since it was trained, as its edits say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from zafu.edits.contract import Edit
from zafu.errors import Fault, RecipeError
from zafu.models.contract import Model
from zafu.signature import Signature

if TYPE_CHECKING:
    from torch import nn


@final
class Compressed(Model):
    """What `zafu compress` makes of a model; it is trained and used like any other."""

    kind: Literal["compressed"] = "compressed"
    takes: ClassVar[frozenset[str]] = frozenset({"tokens", "pixels", "columns"})
    base: Model
    """The model as it was before."""
    edits: tuple[Edit, ...]
    """What has changed in its form, in order."""

    def check(self) -> Iterable[Fault]:
        """Compressed once: further edits are added to the list."""
        if isinstance(self.base, Compressed):
            yield Fault("base.kind", "a model as it was before", self.base.kind)

    def suits(self, task: str) -> Iterable[Fault]:
        """As the base does."""
        for fault in self.base.suits(task):
            yield replace(fault, path=f"base.{fault.path}")

    def fits(self, signature: Signature) -> Iterable[Fault]:
        """The base must take such data."""
        if signature.inputs.kind not in self.base.takes:
            expected = f"a model that takes {signature.inputs.kind}"
            yield Fault("base.kind", expected, self.base.kind)
            return
        for fault in self.base.fits(signature):
            yield replace(fault, path=f"base.{fault.path}")

    def build(self, signature: Signature) -> nn.Module:
        """The base, changed; raises RecipeError for an edit of a layer that it does not have."""
        module = self.base.build(signature)
        for index, edit in enumerate(self.edits):
            try:
                edit.apply(module)
            except (AttributeError, KeyError, IndexError, TypeError) as error:
                expected = "layers of the model before this edit"
                found = str(error).strip("'\"")
                raise RecipeError([Fault(f"model.edits.{index}", expected, found)]) from None
        return module

    def widths(self) -> dict[str, int]:
        """None: layers whose sizes differ are not cut."""
        return {}

    def random_paths(self) -> bool:
        """If the base has some."""
        return self.base.random_paths()

    def attends(self) -> bool:
        """If the base does."""
        return self.base.attends()

    def hub_config(self, signature: Signature) -> dict[str, Any] | None:
        """That of a decoder in the sizes that are left; None for other bases.

        Raises RecipeError where layers have no such form, or sizes that differ.
        """
        config = self.base.hub_config(signature)
        if config is None or self.base.kind != "decoder":
            return None
        import torch

        from zafu.models.resized import resized

        with torch.device("meta"):
            return resized(config, self.build(signature), self.edits)

    def with_edits(self, edits: Iterable[Edit]) -> Compressed:
        """The same after more edits."""
        return self.model_copy(update={"edits": (*self.edits, *edits)})


def edited(model: Model, edits: Iterable[Edit]) -> Model:
    """A model after edits; the same where there are none."""
    if not (more := tuple(edits)):
        return model
    before = model if isinstance(model, Compressed) else Compressed(base=model, edits=())
    return before.with_edits(more)
