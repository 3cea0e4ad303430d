"""Windows of a module of the standard library, byte by byte."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.augment.contract import Augmentation
from zafu.augment.runtime.chain import Chain
from zafu.augment.synonyms import Synonyms
from zafu.augment.tokens import TokenDeletion, TokenMasking, TokenSwap
from zafu.batch import Batch
from zafu.errors import DataError, RecipeError, Refused

TEXT = np.frombuffer(Path(json.__file__).read_bytes(), np.uint8).astype(np.int64)
TIME = 64
ROWS = (len(TEXT) - 1) // TIME
VOCABULARY = tuple(chr(i) for i in range(256))


def read(ids: np.ndarray) -> Batch:
    windows = np.lib.stride_tricks.sliding_window_view(TEXT, TIME + 1)[ids * TIME]
    return Batch(
        (torch.from_numpy(windows[:, :-1].copy()),), torch.from_numpy(windows[:, 1:].copy()), ids
    )


def changed(step: Augmentation, seed: int = 0) -> tuple[Batch, Batch]:
    """All windows before and after a step."""
    batch = read(np.arange(ROWS))
    chain = Chain([step], seed=seed, outputs=256, read=read, n=ROWS, vocabulary=VOCABULARY)
    return batch, chain(batch, np.zeros(ROWS, np.int64))


def texts(batch: Batch) -> list[list[int]]:
    """The text of each window: the inputs, and the last target that is there."""
    found = []
    for row, targets in zip(batch.inputs[0].tolist(), batch.targets.tolist(), strict=True):
        count = sum(t >= 0 for t in targets)
        found.append([*row[:count], targets[count - 1]])
    return found


@settings(deadline=None, max_examples=20)
@given(st.floats(0.02, 0.9), st.integers(1, 8), st.integers(0, 100))
def test_masking_hides_its_share_of_inputs_and_no_target(
    share: float, span: int, seed: int
) -> None:
    before, found = changed(TokenMasking(share=share, span=span, token=255), seed)

    hidden = found.inputs[0] == 255
    assert torch.equal(found.targets, before.targets)
    assert torch.equal(found.inputs[0][~hidden], before.inputs[0][~hidden])
    deviation = (share * (1 - share) * span / hidden.numel()) ** 0.5
    assert hidden.double().mean().item() == pytest.approx(share, abs=6 * deviation)


def test_random_tokens_are_of_the_whole_vocabulary() -> None:
    _, found = changed(TokenMasking(share=0.9))

    assert found.inputs[0].unique().numel() > 250


@settings(deadline=None, max_examples=20)
@given(st.floats(0.02, 0.9), st.integers(0, 100))
def test_deletion_leaves_the_rest_of_the_text_in_order(share: float, seed: int) -> None:
    before, found = changed(TokenDeletion(share=share), seed)

    kept = 0
    for old, new in zip(texts(before), texts(found), strict=True):
        at = iter(old)
        assert all(token in at for token in new)  # a subsequence
        assert (new[0], new[-1]) == (old[0], old[-1])
        kept += len(new) - 2
    middle = ROWS * (TIME - 1)
    deviation = (share * (1 - share) / middle) ** 0.5
    assert kept / middle == pytest.approx(1 - share, abs=5 * deviation)


@pytest.mark.parametrize("step", [TokenDeletion(share=0.3), TokenSwap(share=0.5)])
def test_each_target_is_the_token_that_follows(step: Augmentation) -> None:
    _, found = changed(step)

    there = found.targets[:, 1:] >= 0
    assert torch.equal(found.targets[:, :-1][there], found.inputs[0][:, 1:][there])


@settings(deadline=None, max_examples=20)
@given(st.floats(0.05, 0.9), st.integers(0, 100))
def test_a_swap_exchanges_neighbours_alone(share: float, seed: int) -> None:
    before, found = changed(TokenSwap(share=share), seed)

    for old, new in zip(texts(before), texts(found), strict=True):
        at = 0
        while at < len(old):
            if old[at] == new[at]:
                at += 1
            else:
                assert (new[at], new[at + 1]) == (old[at + 1], old[at])
                at += 2


def test_absent_targets_stay_absent() -> None:
    batch = read(np.arange(ROWS))
    batch.targets[:, ::3] = -100
    before = (batch.targets >= 0).sum()

    for step in (TokenSwap(share=0.5), TokenMasking(share=0.5)):
        chain = Chain([step], seed=0, outputs=256, read=read, n=ROWS)
        found = chain(batch, np.zeros(ROWS, np.int64))

        assert torch.equal(found.targets < 0, batch.targets < 0)
        assert (found.targets >= 0).sum() == before


def test_synonyms_are_whole_words_in_the_same_form(tmp_path: Path) -> None:
    words = [" big", " bigger", "Big", " large", "Large", "large", " ger", "ger", " a", ".", "big"]
    text = " a big a ger . Big a large . bigger large"
    pieces = [" a", " big", " a", " ger", ".", "Big", " a", " large", ".", " big", "ger", " large"]
    ids = torch.tensor([words.index(p) for p in pieces])
    batch = Batch((ids[None, :-1],), ids[None, 1:], np.zeros(1, np.int64))
    file = tmp_path / "synonyms.txt"
    file.write_text("big, large, huge\n\n")
    assert len("".join(pieces)) <= len(text)

    chain = Chain(
        [Synonyms(file=str(file), share=1.0)],
        seed=0,
        outputs=len(words),
        read=lambda _: batch,
        n=1,
        vocabulary=words,
    )
    found = chain(batch, np.zeros(1, np.int64))

    new = [words[i] for i in (*found.inputs[0][0].tolist(), found.targets[0, -1].item())]
    assert new[:5] == [" a", " large", " a", " ger", "."]
    assert new[5:8] == ["Large", " a", " big"]  # after a stop; after a space
    assert new[8:] == [".", " big", "ger", " large"]  # a part of "bigger"; a word that may go on
    assert torch.equal(found.targets[0, :-1], found.inputs[0][0, 1:])


def test_lists_of_synonyms_are_checked(tmp_path: Path) -> None:
    alone = tmp_path / "alone.txt"
    alone.write_text("big, large\nsmall\n\ntiny\n")
    rare = tmp_path / "rare.txt"
    rare.write_text("sesquipedalian, polysyllabic\n")

    with pytest.raises(RecipeError, match="file: expected a text file"):
        Synonyms.parse({"file": str(tmp_path / "none.txt")})
    with pytest.raises(DataError, match="found one in line 2, 4"):
        changed(Synonyms(file=str(alone)))
    with pytest.raises(Refused, match="found none in 1 groups"):
        changed(Synonyms(file=str(rare)))


def test_a_token_beyond_the_vocabulary_is_refused() -> None:
    with pytest.raises(Refused, match="expected 0 to 255, found 256"):
        changed(TokenMasking(token=256))
