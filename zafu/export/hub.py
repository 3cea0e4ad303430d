"""Hub: a model as a folder that `transformers` loads, with its tokenizer, config and a card.

The layout is that of the Hugging Face hub: `config.json`, safetensors in files of a limited size
with an index (huggingface.co/docs/transformers/big_models), `tokenizer.json`, `README.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal, final

from pydantic import Field

from zafu.errors import Fault, RecipeError
from zafu.export.contract import Answers, Export, Source


@final
class Hub(Export):
    """A folder for `transformers`, and for all that reads its folders, such as vLLM."""

    kind: Literal["hub"] = "hub"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("transformers", "hub"),)
    of: ClassVar[frozenset[str] | None] = frozenset({"decoder", "hub"})
    largest: int = Field(default=5 * 10**9, ge=1)
    """Most bytes of a file of weights."""

    def refuses(self, source: Source) -> Iterable[Fault]:
        """Its architecture must be one of the hub's, in these sizes."""
        yield from super().refuses(source)
        try:
            config = source.recipe.model.hub_config(source.signature)
        except RecipeError as error:
            yield from error.faults
            return
        if config is None and source.recipe.model.kind == "compressed":
            yield Fault("hub", "a decoder where it is compressed", "another model")

    def inputs(self, source: Source) -> tuple[str, ...]:
        """As `transformers` calls them."""
        return ("input_ids" if source.signature.inputs.kind == "tokens" else "pixel_values",)

    def write(self, source: Source, part: Path) -> None:
        """Tokenizer, config, weights."""
        from zafu.export.runtime import hub

        hub.write(source, part, self.largest)

    def open(self, folder: Path, *, threads: int) -> Answers:
        """The model that `transformers` makes of it."""
        from zafu.export.runtime import hub

        return hub.opened(folder)

    def front(self, source: Source) -> Iterable[str]:
        """What the hub reads of a card."""
        tokens = source.signature.inputs.kind == "tokens"
        kind = "text-generation" if tokens else "image-classification"
        return ("---", "library_name: transformers", f"pipeline_tag: {kind}", "---", "")

    def usage(self, source: Source) -> Iterable[str]:
        """As `transformers` has it."""
        tokens = source.signature.inputs.kind == "tokens"
        auto = "AutoModelForCausalLM" if tokens else "AutoModelForImageClassification"
        return ("```python", f"model = transformers.{auto}.from_pretrained(folder)", "```")
