"""GGUF: one file with weights, sizes and tokenizer, for llama.cpp and all that is built on it.

Rounded weights share a scale by 32 in a row (github.com/ggml-org/ggml, `q8_0`, `q4_0`), by the
`gguf` package; llama.cpp opens the file through `xllamacpp`, whose server says how likely each
token is behind the last one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal, final

from zafu.errors import Fault
from zafu.export.contract import Answers, Export, Source, Speaker


@final
class Gguf(Export):
    """`model.gguf`, opened by llama.cpp: of what runs on CPUs, what writes fastest."""

    kind: Literal["gguf"] = "gguf"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("gguf", "gguf"), ("xllamacpp", "gguf"))
    positional: ClassVar[tuple[str, ...]] = ("weights",)
    of: ClassVar[frozenset[str] | None] = frozenset({"decoder"})
    last: ClassVar[bool] = True
    weights: Literal["f32", "f16", "bf16", "q8_0", "q4_0"] = "f16"
    """Numbers of matrices; beside q4_0 the embedding and the head are q8_0."""

    def refuses(self, source: Source) -> Iterable[Fault]:
        """It must be a decoder of plain layers, with a tokenizer of byte pairs."""
        from zafu.export.runtime import gguf_file

        return (*super().refuses(source),) or gguf_file.faults(source, self.weights)

    def rounds(self, source: Source) -> bool:
        """All but f32."""
        return self.weights != "f32"

    def write(self, source: Source, part: Path) -> None:
        """The file."""
        from zafu.export.runtime import gguf_file

        gguf_file.write(source, part, self.weights)

    def open(self, folder: Path, *, threads: int) -> Answers:
        """A server of llama.cpp in this process, asked for one token."""
        from zafu.export.runtime import llama

        return llama.opened(folder, threads, rounded=self.weights != "f32")

    def speaker(self, folder: Path, *, threads: int) -> Speaker:
        """The same server, which keeps what it has read."""
        from zafu.export.runtime import llama

        return llama.Llama(folder, threads, rounded=self.weights != "f32")

    def usage(self, source: Source) -> Iterable[str]:
        """As llama.cpp has it."""
        yield "```"
        yield "llama-cli --model model.gguf --prompt …"
        yield "```"
        yield ""
        yield (
            "llama.cpp cuts text into words by patterns of its own: where the tokenizer's is none "
            "of them, some text gets other tokens than in training. Token ids mean the same."
        )
