"""Parts of a server by themselves: limits of the queue, words out of tokens, bodies, vLLM."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zafu.errors import DataError, Refused
from zafu.serve import body, crowd, threads, vllm
from zafu.serve.batching import Batcher, best_size
from zafu.serve.explaining import Explaining
from zafu.serve.limits import Limits
from zafu.serve.metrics import Metrics
from zafu.serve.refusal import Rejected
from zafu.serve.speaking import Speaking
from zafu.serve.texts import Texts
from zafu.serve.voices import Recomputed
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


def test_a_crowd_is_let_in_as_far_as_it_is_answered_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server of 1 ms a request, one after the other, is asked at four times what it can.

    By a clock of its own: of 20,000 requests in 5 s about a quarter is answered, and behind the
    first second in at most three times what one takes alone.
    """
    now, metrics, took = [0.0], Metrics(), list[tuple[float, float]]()
    monkeypatch.setattr(crowd, "perf_counter", lambda: now[0])
    door, inside = crowd.Crowd(64, metrics), list[tuple[float, AbstractContextManager[None]]]()

    def answer_until(time: float) -> None:
        """One at a time: each takes 1 ms from when the one before was answered."""
        while inside and (done := max(inside[0][0], free[0]) + 0.001) <= time:
            came, one = inside.pop(0)
            now[0] = free[0] = done
            one.__exit__(None, None, None)
            took.append((came, done - came))

    free = [0.0]
    for step in range(20_050):
        # 50 of them alone, then a crowd
        arrival = step * 0.01 if step < 50 else 0.5 + (step - 50) * 0.00025
        answer_until(arrival)
        now[0] = arrival
        try:
            door.admit()
        except Rejected:
            continue
        one = door.inside()
        one.__enter__()
        inside.append((arrival, one))

    late = [seconds for came, seconds in took if came > 1.5]
    assert 4500 < len(took) < 5200
    assert max(late) <= 0.0045
    assert metrics.value("refused_total") > 10_000


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


def test_who_was_just_answered_is_waited_for() -> None:
    """Four ask ten times each: ten passes, were they always together; one by one it were forty."""
    sizes: list[int] = []

    def work(items: Sequence[object]) -> Sequence[object]:
        sizes.append(len(items))
        time.sleep(0.02)
        return items

    async def asked(clients: int) -> None:
        batcher = Batcher(work, 8, Metrics())

        async def one() -> None:
            for i in range(10):
                await batcher.ask([i])
                await asyncio.sleep(0.002)

        await asyncio.gather(*(one() for _ in range(clients)))

    asyncio.run(asked(4))
    together = len(sizes)
    asyncio.run(asked(1))

    assert together <= 15
    assert sizes[together:] == [1] * 10


def test_who_waits_longest_is_refused_when_too_many_were_let_in() -> None:
    metrics = Metrics()

    async def asked() -> list[list[object] | BaseException]:
        batcher = Batcher(lambda items: [time.sleep(0.05), *items][1:], 2, metrics)
        works = [asyncio.ensure_future(batcher.ask([i])) for i in range(6)]
        await asyncio.sleep(0.02)  # two are computed, four wait
        batcher.shed(3)
        return await asyncio.gather(*works, return_exceptions=True)

    found = asyncio.run(asked())

    assert [one if isinstance(one, list) else 503 for one in found] == [
        [0],
        [1],
        503,
        503,
        503,
        [5],
    ]
    assert all(isinstance(one, (list, Rejected)) for one in found)
    assert metrics.value("refused_total") == 3


def test_threads_are_doubled_as_long_as_that_pays() -> None:
    assert threads.paying(lambda n: 1 / n, 8) == 8
    assert threads.paying(lambda n: 1 / n, 6) == 6
    assert threads.paying(lambda n: 0.9**n, 8) == 1
    assert threads.paying({1: 1.0, 2: 0.6, 4: 0.5}.__getitem__, 4) == 2


def test_the_size_of_a_batch_is_the_smallest_that_pays() -> None:
    """A pass of 1 ms and 0.01 ms a sample: beyond 32 there is little to win."""
    assert best_size(lambda size: 0.001 + size * 1e-5, 64).size == 64
    assert best_size(lambda size: 0.001 * size, 64) == (1, 1000)
    assert best_size(lambda size: 0.001 + max(0, size - 8) * 0.001, 64) == (8, 8000)


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


class Panic(BaseException):
    """As native code raises it: no Exception."""


@pytest.mark.parametrize(
    ("act", "message"), [(Panic, "no tokens can be made of it"), (None, "took too long")]
)
def test_a_tokenizer_that_panics_or_hangs_is_a_refusal_in_time(
    act: type[BaseException] | None, message: str
) -> None:
    class Bad(Letters):
        def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
            if act:
                raise act
            time.sleep(0.5)
            return super().encode(texts)

    def answers(*inputs: np.ndarray) -> np.ndarray:
        return np.zeros((*inputs[0].shape, 257), np.float32)

    metrics, limits = Metrics(), Limits(text_seconds=0.05)
    voice = Recomputed(answers, context=64, slots=1)
    speaking = Speaking(voice, 256, metrics, waiting=1)
    routes = Texts("x", Bad(), speaking, cast(Explaining, None), limits)

    begun = time.perf_counter()
    with pytest.raises(Rejected) as error:
        asyncio.run(routes._tokens("abc"))

    assert message in error.value.message
    assert error.value.status == 400
    assert time.perf_counter() - begun < 1
