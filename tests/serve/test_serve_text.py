"""Text over HTTP, as the OpenAI interface has it: whole, streamed, together, and given up."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from serving import JSON, Server

from zafu.answer import continued
from zafu.build import load_model
from zafu.nets.sampling import Choice
from zafu.run import Run

GREEDY = {"max_tokens": 40, "temperature": 0}
PROMPTS = ("import ", "class A:\n", "def run(self", "", "    return é")


def completed(server: Server, prompt: str, **more: Any) -> dict[str, Any]:
    said = server.ask("/v1/completions", {"prompt": prompt, **GREEDY, **more})
    assert said.status == 200, said.body
    return said.plain()


def streamed(server: Server, body: dict[str, Any], path: str = "/v1/completions") -> list[Any]:
    lines = server.ask(path, {**body, "stream": True}).body.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def test_texts_that_are_written_together_are_those_of_generate(writer: Server, text: Run) -> None:
    module = load_model(text.model)[0]
    choice = Choice(temperature=0)
    expected = [
        "".join(continued(module, text.model, prompt, length=40, choice=choice, seed=0))
        for prompt in PROMPTS
    ]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda p: completed(writer, p), PROMPTS * 3))

    assert [one["choices"][0]["text"] for one in found] == expected * 3


def test_a_seed_gives_the_same_text_again(writer: Server) -> None:
    settings = {"temperature": 1.0, "top_p": 0.9, "top_k": 50}

    first, again, other = (completed(writer, "def ", **settings, seed=s) for s in (1, 1, 2))

    assert first["choices"] == again["choices"] != other["choices"]


def test_a_stream_says_what_the_whole_says(writer: Server) -> None:
    whole = completed(writer, "def run(")
    body = {"prompt": "def run(", **GREEDY, "stream_options": {"include_usage": True}}

    *pieces, usage = streamed(writer, body)

    assert "".join(p["choices"][0]["text"] for p in pieces) == whole["choices"][0]["text"]
    assert pieces[-1]["choices"][0]["finish_reason"] == "length"
    assert len(pieces) > 10
    assert usage["usage"] == whole["usage"]
    assert usage["usage"]["completion_tokens"] == 40
    assert usage["choices"] == []


def test_a_text_ends_before_its_stop_sequence(writer: Server) -> None:
    text = completed(writer, "import ")["choices"][0]["text"]
    stop = text[11:15]

    found = completed(writer, "import ", stop=[stop, "\0never"])["choices"][0]
    pieces = streamed(writer, {"prompt": "import ", **GREEDY, "stop": stop})

    assert found == {**found, "text": text[: text.index(stop)], "finish_reason": "stop"}
    assert "".join(p["choices"][0]["text"] for p in pieces) == found["text"]


def test_a_conversation_is_a_text_with_turns(writer: Server) -> None:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "hi"}]
    prompt = "system: Be short.\nuser: hi\nassistant:"
    plain = completed(writer, prompt, stop=["\nuser:", "\nsystem:"])["choices"][0]

    body = {"messages": messages, **GREEDY}
    found = writer.ask("/v1/chat/completions", body).plain()
    pieces = streamed(writer, body, "/v1/chat/completions")

    message = found["choices"][0]["message"]
    assert message == {"role": "assistant", "content": plain["text"]}
    assert found["object"] == "chat.completion"
    deltas = [p["choices"][0]["delta"].get("content", "") for p in pieces]
    assert "".join(deltas) == plain["text"]


def test_a_text_ends_where_the_context_does(writer: Server) -> None:
    found = completed(writer, "def ", max_tokens=10_000)

    assert found["choices"][0]["finish_reason"] in ("length", "stop")
    assert found["usage"]["total_tokens"] <= 256


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"prompt": "a b " * 400}, 400, "prompt: expected fewer than 255 tokens, found "),
        ({"prompt": "a" * 2_000_000}, 400, "prompt: expected fewer than 255 tokens, found more"),
        ({"prompt": "a", "model": "gpt-5"}, 404, "model: expected the one"),
        ({"prompt": "a", "temperature": -1}, 422, "temperature: expected a number >= 0"),
        ({"prompt": "a", "n": 2}, 422, "n: expected"),
        ({"prompt": "a", "frobnicate": 1}, 422, "frobnicate: expected no such key"),
        ({"prompt": 5}, 422, "prompt: expected"),
        ({}, 422, "prompt: expected"),
        ([], 422, "expected"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_model_runs(
    writer: Server, body: Any, status: int, message: str
) -> None:
    before = writer.metric("prompt_tokens_total")

    said = writer.ask("/v1/completions", body)

    assert said.status == status
    assert message in said.message()
    assert writer.metric("prompt_tokens_total") == before


def test_a_vanished_client_frees_its_slot_within_a_second(writer: Server) -> None:
    """Streams and whole answers alike; what they would have written is not written."""
    before = writer.metric("tokens_total")
    for stream in (True, False):
        connection = writer.connect()
        body = json.dumps({"prompt": "def ", "max_tokens": 250, "stream": stream})
        connection.request("POST", "/v1/completions", body, JSON)
        if stream:
            connection.getresponse().read(10)
        connection.close()
    time.sleep(1)

    after = writer.metric("tokens_total")
    time.sleep(0.2)

    assert writer.metric("tokens_total") == after  # nothing is written any more
    assert writer.metric("open_requests") == 1  # the one that asks
    assert after - before < 500


def test_a_full_queue_refuses_at_once(writer: Server) -> None:
    """4 slots and 16 that wait: of 60 requests at once some are refused, the others answered."""

    def ask(_: int) -> tuple[int, float, str]:
        begun = time.perf_counter()
        said = writer.ask("/v1/completions", {"prompt": "x", "max_tokens": 120, "temperature": 0})
        return said.status, time.perf_counter() - begun, said.headers.get("retry-after", "")

    with ThreadPoolExecutor(60) as pool:
        found = list(pool.map(ask, range(60)))

    statuses = [status for status, _, _ in found]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 20
    assert all(after == "1" for status, _, after in found if status == 503)


def test_the_model_is_listed(writer: Server, text: Run) -> None:
    found = writer.ask("/v1/models").plain()

    assert [model["id"] for model in found["data"]] == [text.folder.name]
    assert completed(writer, "a", model=text.folder.name)["model"] == text.folder.name


def test_a_next_token_is_explained(writer: Server) -> None:
    found = writer.ask("/explain", {"prompt": "def run(self"}).plain()

    assert "".join(token["text"] for token in found["tokens"]) == "def run(self"
    assert writer.ask("/explain", {"prompt": ""}).status == 422
    assert writer.ask("/explain", {"prompt": "a b " * 400}).status == 400
