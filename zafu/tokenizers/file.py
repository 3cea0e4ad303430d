"""A tokenizer that is there already: a byte-level tokenizer.json, as GPT-2, Llama 3 and Qwen have.

Only tokens that spell text byte by byte are taken, so that bits per byte mean what they say.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, final

from zafu.errors import DataError
from zafu.spec import did_you_mean
from zafu.tokenizers.contract import END, Tokenizer
from zafu.tokenizers.encoder import FILE, configure

LARGEST = 64 << 20  # bytes of a tokenizer.json; the largest in use have about 20 million


@final
class FileTokenizer(Tokenizer):
    """The tokenizer of another model."""

    kind: Literal["file"] = "file"
    path: str
    """The tokenizer.json, or a folder that has one."""
    end: str = END
    """Its token that ends a document."""

    def foreseen(self) -> tuple[int, int]:
        """How many tokens it has; raises DataError if it is not byte level or has no `end`."""
        return _size(str(self._file()), self.end)

    def sources(self) -> Iterable[Path]:
        """The file."""
        return (self._file(),)

    def train(self, texts: Iterator[str], transform: Path, *, context: int) -> None:
        """Copy it; there is nothing to learn."""
        shutil.copyfile(self._file(), transform / FILE)
        configure(transform, context=context, end=self.end)

    def _file(self) -> Path:
        path = Path(self.path).expanduser()
        return path / FILE if path.is_dir() else path


@lru_cache(maxsize=4)
def _size(name: str, end: str) -> tuple[int, int]:
    path = Path(name)
    where = f"data.tokenizer.path: {path}"
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{where}: expected at most {LARGEST} bytes")
        plain = json.loads(path.read_text(encoding="utf-8"))
        vocab = plain["model"]["vocab"]
        added = {str(t["content"]): int(t["id"]) for t in plain.get("added_tokens") or ()}
        names = vocab if isinstance(vocab, dict) else {t[0]: i for i, t in enumerate(vocab)}
        kinds = _kinds(plain.get("pre_tokenizer")) | _kinds(plain.get("decoder"))
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise DataError(f"{where}: expected a tokenizer.json, {error}") from None
    if "ByteLevel" not in kinds or plain.get("normalizer"):
        raise DataError(
            f"{where}: expected a byte-level tokenizer without a normalizer, found "
            f"{', '.join(sorted(kinds)) or 'none'}"
        )
    if end not in added and end not in names:
        hint = did_you_mean(end, added) or f"special tokens: {', '.join(list(added)[:10])}"
        raise DataError(f"data.tokenizer.end: expected a token of {path}, found {end!r}; {hint}")
    known = names | added
    return max(known.values()) + 1, known[end]


def _kinds(step: Any) -> set[str]:
    """The types of a step of a tokenizer and of those inside it."""
    if not isinstance(step, dict):
        return set()
    inner = [*step.get("pretokenizers", ()), *step.get("decoders", ())]
    return {str(step["type"])}.union(*map(_kinds, inner)) - {"Sequence"}
