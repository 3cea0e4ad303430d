"""Embedding: a text as the mean of what a language model's last layer makes of its tokens.

Reimers & Gurevych, 2019 (arXiv:1908.10084): mean pooling. The model is a folder of this machine;
nothing is trained. Each different text is looked at once, among others of about its length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.errors import Damaged
from zafu.features import frames, local_model
from zafu.features.contract import Feature, State

if TYPE_CHECKING:
    import polars as pl
    import torch
    from transformers import PreTrainedModel


@final
class Embedding(Feature):
    """The columns `name.0` and so on, as many as the model is wide; 0 where there is no text."""

    kind: Literal["embedding"] = "embedding"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("transformers", "hub"),)
    column: str
    """The column of text."""
    path: str = Field(min_length=1)
    """Folder with `config.json`, `*.safetensors` and a tokenizer; also needed to predict."""
    batch: int = Field(default=32, ge=1, le=4096)
    """Texts that the model sees together, 1 to 4096."""
    most: int = Field(default=512, ge=1)
    """Tokens of a text that are read, 1 or more; never more than the model can."""
    keep: bool = False
    """Whether the text stays, for another feature to take."""

    def needed(self) -> Iterable[str]:
        """The text."""
        return (self.column,)

    def fit(self, rows: pl.DataFrame, target: pl.Series, *, seed: int) -> State:
        """The digest of the model's files; raises DataError where there are none."""
        frames.choose(rows, (self.column,), "text")
        local_model.require_transformers()
        return local_model.digest(self.path)

    def apply(self, state: State, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the mean of the last layer."""
        model = local_model.load(self.path, state, "input_ids")
        texts = sorted(rows[self.column].drop_nulls().unique())
        vectors = self._vectors(model, texts)
        place = frames.index(rows[self.column], texts)
        # the last row stands for no text
        columns = np.ascontiguousarray(vectors[place].T.astype(np.float64))
        names = frames.numbered(self.column, len(columns))
        gone = () if self.keep else (self.column,)
        return frames.beside(rows, gone, dict(zip(names, columns, strict=True)))

    def _vectors(self, model: PreTrainedModel, texts: Sequence[str]) -> np.ndarray:
        """What the model makes of each text, and a row of zeros, `(texts + 1, width)` float32."""
        tokens = self._tokens(model, texts)
        order = sorted((i for i, ids in enumerate(tokens) if ids), key=lambda i: len(tokens[i]))
        out = np.zeros((len(texts) + 1, int(model.config.hidden_size)), np.float32)
        for start in range(0, len(order), self.batch):
            some = order[start : start + self.batch]
            out[some] = pooled(model, [tokens[i] for i in some]).numpy()
        return out

    def _tokens(self, model: PreTrainedModel, texts: Sequence[str]) -> list[list[int]]:
        from transformers import AutoTokenizer

        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(
                self.path, local_files_only=True, trust_remote_code=False
            )
        except local_model.REFUSALS as error:
            raise Damaged(f"{self.path}: expected a tokenizer, {error}") from None
        name = "max_position_embeddings"  # which some architectures call otherwise
        sizes = model.config.to_dict()
        positions = sizes.get(model.config.attribute_map.get(name, name)) or self.most
        most = min(self.most, int(positions), int(tokenizer.model_max_length))
        if not texts:
            return []
        return tokenizer(list(texts), truncation=True, max_length=most)["input_ids"]


def pooled(model: PreTrainedModel, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
    """The mean over each text's tokens of the last layer, `(texts, width)` float32."""
    import torch

    lengths = torch.tensor([len(ids) for ids in tokens])
    there = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = torch.zeros(there.shape, dtype=torch.int64)  # 0 where there is nothing: it is not seen
    ids[there] = torch.tensor([i for each in tokens for i in each])
    with torch.inference_mode():
        last = model(input_ids=ids, attention_mask=there.long()).last_hidden_state
    return (last * there[..., None]).sum(1) / lengths[:, None]
