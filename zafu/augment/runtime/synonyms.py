"""Words of equal meaning exchanged in windows of tokens, where each is one token.

A token is a whole word if it spells one, after a space or not, and no letter joins it on either
side. Each form (after a space, with a capital) is exchanged for the same form alone. The text
itself changes: inputs and targets alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from zafu.augment.runtime.draws import bits, chance, threshold
from zafu.augment.runtime.step import Draw, Scene
from zafu.batch import Batch
from zafu.errors import Refused

Groups = tuple[tuple[str, ...], ...]  # words of equal meaning


class Table:
    """For each token the others of its group."""

    def __init__(self, groups: Groups, vocabulary: Sequence[str]) -> None:
        found = _by_token(groups, vocabulary)
        most = max(map(len, found.values()), default=1)
        self.counts = torch.zeros(len(vocabulary), dtype=torch.int64)
        self.choices = torch.zeros(len(vocabulary), most, dtype=torch.int64)  # (tokens, most)
        for token, others in found.items():
            self.counts[token] = len(others)
            self.choices[token, : len(others)] = torch.tensor(others)
        self.joins = torch.tensor([text[:1].isalnum() for text in vocabulary])  # to a word before
        self.open = torch.tensor([text[-1:].isalnum() for text in vocabulary])  # to a word after
        self.spaced = torch.tensor([text[:1] == " " for text in vocabulary])


def synonyms(batch: Batch, draw: Draw, scene: Scene, *, groups: Groups) -> Batch:
    """About `share` of the words that have others of equal meaning give way to one of these."""
    (inputs,) = batch.inputs
    table = table_of(groups, tuple(scene.vocabulary))
    text = torch.cat([inputs, batch.targets[:, -1:].clamp(min=0)], 1).cpu()  # (batch, time + 1)
    counts = table.counts[text]
    chosen = chance(draw.keys, text.shape[1], text.device) < threshold(
        float(draw.magnitudes["share"])
    )
    alone = torch.ones_like(chosen)
    alone[:, :-1] &= ~table.joins[text[:, 1:]]
    alone[:, 1:] &= table.spaced[text[:, 1:]] | ~table.open[text[:, :-1]]
    # what stands before or after the window is not known
    alone[:, 0] &= table.spaced[text[:, 0]]
    alone[:, -1] = False
    chosen &= alone & (counts > 0)
    if draw.on is not None:
        chosen &= draw.on[:, None]
    which = bits(~draw.keys, text.shape[1], text.device).remainder(counts.clamp(min=1))
    changed = torch.where(chosen, table.choices[text, which], text).to(inputs.device)
    targets = torch.where(batch.targets >= 0, changed[:, 1:], batch.targets)
    return batch._replace(inputs=(changed[:, :-1],), targets=targets)


def ready(batch: Batch, scene: Scene, *, groups: Groups) -> None:
    """Raises Refused where no two words of a group are tokens."""
    if not scene.vocabulary:
        raise Refused("synonyms: expected the vocabulary of a tokenizer, found none")
    if not bool(table_of(groups, tuple(scene.vocabulary)).counts.any()):
        raise Refused(
            f"synonyms: expected two words of a group among the {len(scene.vocabulary)} tokens, "
            f"found none in {len(groups)} groups: add commoner words, or tokens to the vocabulary"
        )


@lru_cache(maxsize=4)
def table_of(groups: Groups, vocabulary: tuple[str, ...]) -> Table:
    """The table of these groups in this vocabulary."""
    return Table(groups, vocabulary)


def _by_token(groups: Groups, vocabulary: Sequence[str]) -> dict[int, list[int]]:
    """Each token that is a word of a group, with the other words of its groups that are tokens."""
    ids: dict[str, int] = {}
    for index, text in enumerate(vocabulary):
        ids.setdefault(text, index)
    found: dict[int, list[int]] = {}
    for group in groups:
        for space in ("", " "):
            for form in (str.lower, str.capitalize):
                words = dict.fromkeys(space + form(word) for word in group)
                tokens = [ids[word] for word in words if word in ids]
                for token in tokens:
                    others = found.setdefault(token, [])
                    others += [t for t in tokens if t != token and t not in others]
    return {token: others for token, others in found.items() if others}
