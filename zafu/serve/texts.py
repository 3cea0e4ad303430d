"""Routes for language models: completions and chats, whole or as they are written."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Literal, final

import torch
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from zafu.loop import key
from zafu.nets.sampling import Choice
from zafu.serve import body, openai
from zafu.serve.client import unless_gone
from zafu.serve.events import Events
from zafu.serve.explaining import Explaining
from zafu.serve.limits import Limits
from zafu.serve.openai import Asked, Chat, Completion, Prompt
from zafu.serve.refusal import Rejected, full
from zafu.serve.speaking import Speaking, Text
from zafu.serve.wording import Wording
from zafu.tokenizers.contract import Encoder

READERS, UNREAD = 2, 256  # threads that make tokens of prompts, and prompts before them at most


@dataclass(frozen=True)
class Form:
    """How an answer is put: as a completion, or as a message."""

    kind: Literal["text_completion", "chat.completion"]
    model: str

    def head(self) -> dict[str, Any]:
        """What stands in every piece of an answer."""
        short = "cmpl" if self.kind == "text_completion" else "chatcmpl"
        name = f"{short}-{uuid.uuid4().hex}"
        return {"id": name, "created": int(time.time()), "model": self.model}

    def whole(self, text: str, reason: str) -> dict[str, Any]:
        """A choice of an answer that is whole."""
        if self.kind == "text_completion":
            said: dict[str, Any] = {"text": text}
        else:
            said = {"message": {"role": "assistant", "content": text}}
        return {"index": 0, **said, "logprobs": None, "finish_reason": reason}

    def piece(self, text: str, reason: str | None) -> dict[str, Any]:
        """A choice of a piece."""
        if self.kind == "text_completion":
            said: dict[str, Any] = {"text": text}
        else:
            said = {"delta": {"role": "assistant", "content": text} if text else {}}
        return {"index": 0, **said, "logprobs": None, "finish_reason": reason}


@final
class Texts:
    """The routes of a language model."""

    def __init__(
        self,
        name: str,
        encoder: Encoder,
        speaking: Speaking,
        explaining: Explaining,
        limits: Limits,
    ) -> None:
        self._name, self._encoder, self._speaking = name, encoder, speaking
        self._explaining, self._limits = explaining, limits
        self._longest = int(encoder.byte_lengths().max())  # bytes of a token
        self._readers = ThreadPoolExecutor(READERS, "tokens")
        self._reading = 0

    async def models(self, _: Request) -> Response:
        """The one model that is here."""
        one = {"id": self._name, "object": "model", "created": 0, "owned_by": "zafu"}
        return JSONResponse({"object": "list", "data": [one]})

    async def completions(self, request: Request) -> Response:
        """Continue a text."""
        asked = Completion.parse(await self._asked(request))
        text = await self._text(asked, asked.prompt, asked.max_tokens or openai.TOKENS)
        form = Form("text_completion", self._name)
        return await self._answer(request, asked, text, asked.stops(), form)

    async def chat(self, request: Request) -> Response:
        """Continue a conversation."""
        asked = Chat.parse(await self._asked(request))
        prompt = openai.conversation(asked.messages)
        text = await self._text(asked, prompt, asked.most() or self._speaking.voices.context)
        stops = (*asked.stops(), *openai.TURN)
        return await self._answer(request, asked, text, stops, Form("chat.completion", self._name))

    async def explain(self, request: Request) -> Response:
        """What of a prompt speaks for the likeliest next token."""
        asked = Prompt.parse(await self._asked(request))
        tokens = await self._tokens(asked.prompt)
        if len(tokens) < 2:
            raise Rejected(422, "prompt: expected at least one token to explain by")
        work = self._explaining.of((torch.tensor([tokens]),))
        return JSONResponse(await unless_gone(request.receive, work))

    async def _asked(self, request: Request) -> Any:
        content = await body.read(request, self._limits.text_bytes, self._limits.body_seconds)
        return body.parsed(content)

    async def _text(self, asked: Asked, prompt: str, most: int) -> Text:
        """The text to write; raises Rejected for another model or too long a prompt."""
        if asked.model not in (None, self._name):
            raise Rejected(404, "model: expected the one that GET /v1/models names")
        tokens = await self._tokens(prompt)
        choice = Choice(temperature=asked.temperature, top_k=asked.top_k, top_p=asked.top_p)
        generator = torch.Generator(self._speaking.voices.device)
        generator.manual_seed(key(asked.seed, len(tokens), 0))
        until = perf_counter() + 0.9 * self._limits.seconds
        return Text(tokens, most, choice, generator, until=until)

    async def _tokens(self, prompt: str) -> list[int]:
        """A prompt's tokens behind the one that begins a text; raises Rejected for too many."""
        context = self._speaking.voices.context
        tokens = [self._encoder.end, *await self._encoded(prompt, context)]
        if len(tokens) >= context:
            text = f"prompt: expected fewer than {context - 1} tokens, found {len(tokens) - 1}"
            raise Rejected(400, text)
        return tokens

    async def _encoded(self, prompt: str, context: int) -> list[int]:
        """A prompt's tokens, made in a thread in bounded time; raises Rejected."""
        if len(prompt.encode()) > context * self._longest:
            raise Rejected(400, f"prompt: expected fewer than {context - 1} tokens, found more")
        if self._reading >= UNREAD:
            raise full()
        self._reading += 1
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._readers, self._encoder.encode, [prompt])
        work.add_done_callback(self._read)
        try:
            found = await asyncio.wait_for(asyncio.shield(work), self._limits.text_seconds)
        except TimeoutError:
            raise Rejected(400, "prompt: took too long to be made tokens of") from None
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001  (a panic of native code is no Exception)
            raise Rejected(400, "prompt: no tokens can be made of it") from None
        return found[0].tolist()

    def _read(self, work: asyncio.Future[Any]) -> None:
        self._reading -= 1
        if not work.cancelled():
            work.exception()  # it is looked at, whoever has gone

    async def _answer(
        self, request: Request, asked: Asked, text: Text, stops: Sequence[str], form: Form
    ) -> Response:
        head = form.head()
        self._speaking.begin(text)
        if asked.stream:
            usage = bool(asked.stream_options and asked.stream_options.include_usage)
            source = self._events(text, stops, form, head, usage)
            return Events(source, partial(self._speaking.give_up, text))
        try:
            whole = await unless_gone(request.receive, self._whole(text, stops))
        finally:
            self._speaking.give_up(text)
        choice = form.whole(*whole)
        found = {**head, "object": form.kind, "choices": [choice], "usage": _usage(text)}
        return JSONResponse(found)

    async def _whole(self, text: Text, stops: Sequence[str]) -> tuple[str, str]:
        said, reason = "", "length"
        async with aclosing(self._pieces(text, stops)) as pieces:
            async for piece, end in pieces:
                said, reason = said + piece, end or reason
        return said, reason

    async def _events(
        self, text: Text, stops: Sequence[str], form: Form, head: dict[str, Any], usage: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        kind = "text_completion" if form.kind == "text_completion" else "chat.completion.chunk"
        head = {**head, "object": kind}
        async with aclosing(self._pieces(text, stops)) as pieces:
            async for piece, end in pieces:
                yield {**head, "choices": [form.piece(piece, end)]}
        if usage:
            yield {**head, "choices": [], "usage": _usage(text)}

    async def _pieces(
        self, text: Text, stops: Sequence[str]
    ) -> AsyncGenerator[tuple[str, str | None], None]:
        """Pieces of what is written, the last one with the reason of its end."""
        wording = Wording(self._encoder, stops)
        while not wording.stopped:
            said = await text.heard.get()
            if said.failed:
                raise Rejected(500, "the model could not answer; the server's log says why")
            if said.reason:
                rest = wording.rest()
                yield rest, "stop" if wording.stopped else said.reason
                return
            if said.token is not None and (piece := wording.add(said.token)):
                yield piece, None
        yield "", "stop"


def _usage(text: Text) -> dict[str, int]:
    prompt = len(text.prompt)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": text.count,
        "total_tokens": prompt + text.count,
    }
