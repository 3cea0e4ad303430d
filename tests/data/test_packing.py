"""Packing, on documents of any lengths."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.data.packing import best_fit, cut_documents, placed_rows, rows, sizes, stream

LENGTHS = st.lists(st.integers(1, 70), min_size=1, max_size=40)
END = 0


def documents(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that count up from 1, each document with END as its last; where each ends."""
    ends = np.cumsum(lengths)
    tokens = np.arange(1, ends[-1] + 1)
    tokens[ends - 1] = END
    return tokens, ends


@given(LENGTHS, st.integers(1, 24))
@settings(deadline=None)
def test_every_token_is_a_target_exactly_once_after_the_token_before_it(
    lengths: list[int], context: int
) -> None:
    tokens, ends = documents(lengths)
    before = np.concatenate([[END], tokens[:-1]])
    packed = best_fit(np.array(lengths), context)
    placed = placed_rows(packed, context)

    seen = []
    for row, count in zip(
        rows(packed, tokens, ends, context=context, end=END), placed.targets, strict=True
    ):
        assert len(row) == context + 1
        seen += list(pairwise(row[: count + 1]))

    assert sorted(seen) == sorted(zip(before, tokens, strict=True))


@given(LENGTHS, st.integers(1, 24))
@settings(deadline=None)
def test_documents_that_fit_are_not_cut(lengths: list[int], context: int) -> None:
    packed = best_fit(np.array(lengths), context)

    whole = [p for row in packed for p in row if lengths[p.document] <= context]

    assert all(p.begin == 0 and p.end == lengths[p.document] for p in whole)
    assert cut_documents(packed) == sum(length > context for length in lengths)


def test_little_room_is_left_where_many_documents_are_short() -> None:
    lengths = np.random.default_rng(0).lognormal(5, 1, 5000).astype(int) + 1

    packed = best_fit(lengths, 2048)

    filled = sum(p.end - p.begin for row in packed for p in row)
    assert filled == lengths.sum()
    assert 1 - filled / (len(packed) * 2048) < 0.005


@given(st.integers(1, 300), st.integers(1, 24))
def test_a_stream_predicts_every_token_but_the_first_once(count: int, context: int) -> None:
    tokens = np.arange(max(count, context + 1))
    placed = stream(len(tokens), context)

    seen = [
        start + 1 + first + place
        for start, targets, first in zip(*placed, strict=True)
        for place in range(targets)
    ]

    assert seen == list(range(1, len(tokens)))


@pytest.mark.parametrize("context", [3, 8])
def test_sizes_are_the_bytes_of_the_targets_that_count(context: int) -> None:
    tokens = np.array([0, 2, 1, 0, 1, 2, 2, 1, 0, 2, 1, 2, 2, 0])
    lengths = np.array([0, 1, 10])
    placed = stream(len(tokens), context)

    found = sizes(tokens, placed, lengths, context)

    assert found[:, 0].sum() == lengths[tokens].sum()
    assert found[:, 1].tolist() == placed.targets.tolist()
