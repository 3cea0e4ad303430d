"""What clients ask in a measurement: samples of noise, of the sizes that the model takes."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

import numpy as np

from zafu.deploy.bundle import Bundle
from zafu.report.picture import png
from zafu.signature import Tokens
from zafu.tokenizers import encoder

DIFFERENT = 16  # bodies that are asked in turn
READ, WRITTEN = 32, 32  # tokens of a prompt, and of what is written, at most


class Asking(NamedTuple):
    """Bodies for a route."""

    path: str
    kind: str
    bodies: tuple[str, ...]  # base64
    streams: bool

    def plan(self) -> dict[str, Any]:
        """As a plan has it."""
        return self._asdict()


def of(bundle: Bundle) -> Asking:
    """What a model is asked."""
    random = np.random.default_rng(0)
    inputs = bundle.signature.inputs
    if isinstance(inputs, Tokens):
        bodies = [_text(bundle, inputs, random) for _ in range(DIFFERENT)]
        return _asking("/v1/completions", "application/json", bodies, streams=True)
    intake = bundle.recipe.data.intake(bundle.fitted)
    if intake.takes == "pictures":
        shapes = (intake.shape for _ in range(DIFFERENT))
        shown = [png(random.integers(0, 256, shape, np.uint8)) for shape in shapes]
        return _asking("/predict", "image/png", shown, streams=False)
    row = {c.name: c.usual if c.number else (c.values or (None,))[0] for c in intake.columns}
    body = json.dumps({"rows": [row]}).encode()
    return _asking("/predict", "application/json", [body], streams=False)


def _asking(path: str, kind: str, bodies: list[bytes], *, streams: bool) -> Asking:
    return Asking(path, kind, tuple(base64.b64encode(b).decode() for b in bodies), streams)


def _text(bundle: Bundle, inputs: Tokens, random: np.random.Generator) -> bytes:
    """A prompt of tokens by chance, and a text as long, in half of the context at most each."""
    words = encoder.load(bundle.fitted)
    read, written = (min(most, inputs.context // 2 - 1) for most in (READ, WRITTEN))
    text = words.decode(random.integers(0, inputs.vocab, read).tolist())
    while len(words.encode([text])[0]) > read and text:
        text = text[:-1]
    body = {"prompt": text, "max_tokens": written, "temperature": 1.0, "stream": True}
    return json.dumps({**body, "stream_options": {"include_usage": True}}).encode()
