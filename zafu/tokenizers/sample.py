"""A bounded sample of a stream of texts, which depends on the texts alone."""

from __future__ import annotations

from collections.abc import Iterator


def bounded(texts: Iterator[str], most: int) -> Iterator[str]:
    """The texts, or where they hold more than `most` characters every second, fourth … of them.

    The stream is read once and at most twice `most` characters are kept: whenever there are more,
    every second text that is kept is let go.
    """
    kept: list[str] = []
    size, stride = 0, 1
    for place, text in enumerate(texts):
        if place % stride:
            continue
        kept.append(text)
        size += len(text)
        while size > most and len(kept) > 1:
            kept = kept[::2]
            size, stride = sum(map(len, kept)), 2 * stride
    yield from kept
