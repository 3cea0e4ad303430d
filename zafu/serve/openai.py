"""What a request for text may say: the OpenAI interface's completions and chats.

platform.openai.com/docs/api-reference. A setting that this server has no effect for is refused,
unless it says what is done anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from zafu.errors import Fault
from zafu.spec import Spec

Words = Annotated[str, Field(min_length=1, max_length=256)]
TOKENS = 16  # of a completion that names no number, as that interface has it


class StreamOptions(Spec):
    """What a stream holds beside the text."""

    include_usage: bool = False


class Asked(Spec):
    """What completions and chats have in common."""

    model: str | None = Field(default=None, max_length=256)
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    stop: Words | Annotated[tuple[Words, ...], Field(max_length=4)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(default=None, max_length=256)
    n: Literal[1] = 1
    presence_penalty: Annotated[float, Field(ge=0, le=0)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] = 0.0

    def check(self) -> Iterable[Fault]:
        """Options of a stream are for one."""
        if self.stream_options and not self.stream:
            yield Fault("stream_options", "stream to be true")

    def stops(self) -> tuple[str, ...]:
        """The stop sequences."""
        return (self.stop,) if isinstance(self.stop, str) else self.stop or ()


class Completion(Asked):
    """A text to continue."""

    prompt: str
    echo: Literal[False] = False
    logprobs: None = None
    best_of: Literal[1] = 1
    suffix: None = None


class Prompt(Spec):
    """A text whose next token is explained (no part of that interface)."""

    prompt: str


class Message(Spec):
    """What somebody said."""

    role: Literal["system", "user", "assistant"]
    content: str


class Chat(Asked):
    """A conversation to continue."""

    messages: Annotated[tuple[Message, ...], Field(min_length=1, max_length=256)]
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: Literal[False] | None = None
    tools: None = None

    def most(self) -> int | None:
        """Most tokens of the answer, under either name."""
        return self.max_completion_tokens or self.max_tokens


def conversation(messages: Iterable[Message]) -> str:
    """A conversation as text, which ends where the assistant speaks."""
    lines = [f"{message.role}: {message.content}\n" for message in messages]
    return "".join([*lines, "assistant:"])


TURN = ("\nuser:", "\nsystem:")  # where an answer in a conversation ends
