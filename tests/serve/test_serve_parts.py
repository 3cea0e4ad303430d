"""Parts of a server by themselves: limits of the queue, words out of tokens, bodies, vLLM."""

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zafu.errors import DataError, Refused
from zafu.serve import body, vllm
from zafu.serve.batching import Batcher, best_size
from zafu.serve.metrics import Metrics
from zafu.serve.refusal import Rejected
from zafu.serve.wording import Wording


class Letters:
    """An encoder of bytes: a character may take several tokens."""

    size, end = 257, 256

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.frombuffer(text.encode(), np.uint8) for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(tokens).decode(errors="replace")

    def byte_lengths(self) -> np.ndarray:
        return np.ones(self.size, np.int64)


@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=3), max_size=3))
def test_pieces_are_the_text_up_to_the_first_stop(text: str, stops: list[str]) -> None:
    wording, found = Wording(Letters(), stops), ""
    for token in text.encode():
        found += wording.add(token)
        if wording.stopped:
            break
    found += wording.rest()

    ends = [text.index(stop) for stop in stops if stop in text]
    assert found == text[: min(ends)] if ends else found == text
    assert wording.stopped == bool(ends)


def test_a_full_queue_refuses_and_lets_in_again() -> None:
    """The model is held: one batch computes, as many wait as the bound says, no more."""
    held, metrics = threading.Event(), Metrics()

    def work(items: Sequence[int]) -> list[int]:
        held.wait(5)
        return [item * 2 for item in items]

    async def asked() -> tuple[list[int], int]:
        batcher = Batcher(work, 4, metrics)
        asks = [asyncio.ensure_future(batcher.ask([i])) for i in range(4)]
        await asyncio.sleep(0.05)
        more = [asyncio.ensure_future(batcher.ask([i])) for i in range(80)]
        await asyncio.sleep(0.05)
        held.set()
        found = await asyncio.gather(*asks, *more, return_exceptions=True)
        good = [one[0] for one in found if isinstance(one, list)]
        refused = [one for one in found if isinstance(one, Rejected)]
        assert all(one.status == 503 and one.retry_after for one in refused)
        return good, len(refused)

    good, refused = asyncio.run(asked())

    assert refused == 80 - 64
    assert good == [2 * i for i in (*range(4), *range(64))]
    assert metrics.value("waiting") == 0


def test_one_bad_sample_spoils_no_other() -> None:
    def work(items: Sequence[int]) -> list[int]:
        if 3 in items:
            raise DataError("three")
        return list(items)

    async def asked() -> list[object]:
        batcher = Batcher(work, 8, Metrics())
        return await asyncio.gather(*(batcher.ask([i]) for i in range(6)), return_exceptions=True)

    found = asyncio.run(asked())

    assert [one for one in found if isinstance(one, list)] == [[0], [1], [2], [4], [5]]
    assert isinstance(found[3], DataError)


def test_the_size_of_a_batch_is_the_smallest_that_pays() -> None:
    """A pass of 1 ms and 0.01 ms a sample: beyond 32 there is little to win."""
    assert best_size(lambda size: 0.001 + size * 1e-5, 64) == 64
    assert best_size(lambda size: 0.001 * size, 64) == 1
    assert best_size(lambda size: 0.001 + max(0, size - 8) * 0.001, 64) == 8


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x, max_size=3)))
def test_sound_json_is_read_as_it_is(plain: object) -> None:
    assert body.parsed(json.dumps(plain).encode()) == plain


def test_brackets_in_text_are_no_depth() -> None:
    plain = {"prompt": "[" * 1000 + '\\"' + "{" * 1000}

    assert body.parsed(json.dumps(plain).encode()) == plain


def test_vllm_gets_the_folder_and_no_secret_among_its_words(tmp_path: Path) -> None:
    """Its command is made and not run: that takes a GPU."""
    folder = tmp_path / "python-1" / "export" / "hub"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"vocab_size": 10, "max_position_embeddings": 128}')
    asked = vllm.Asked(folder, "127.0.0.1", 8000, 16, None)

    words = vllm.command(Path("/env/bin/vllm"), folder, asked)
    variables = vllm.environment({"PATH": "/bin", "PYTHONPATH": "/x"}, "t" * 32)

    assert words[:3] == ("/env/bin/vllm", "serve", str(folder))
    pairs = dict(zip(words[3::2], words[4::2], strict=True))
    assert pairs["--served-model-name"] == "python-1"
    assert (pairs["--max-model-len"], pairs["--max-num-seqs"]) == ("128", "16")
    assert variables["VLLM_API_KEY"] == "t" * 32
    assert "PYTHONPATH" not in variables
    with pytest.raises(Refused, match="expected bin/vllm in it"):
        vllm.executable(tmp_path)
