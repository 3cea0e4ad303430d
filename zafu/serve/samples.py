"""Routes for rows and pictures: each sample is read by itself, then answered in a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, final

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from zafu import answer
from zafu.data.intake import Intake
from zafu.deploy.bundle import Bundle
from zafu.errors import DataError
from zafu.serve import body
from zafu.serve.batching import Batcher, Best, best_size
from zafu.serve.client import unless_gone
from zafu.serve.crowd import Crowd
from zafu.serve.explaining import Explaining
from zafu.serve.limits import Limits
from zafu.serve.refusal import Rejected
from zafu.signature import Pixels, Signature, Tokens

SHOWN = 10  # likeliest labels in an answer
MOST = 64  # samples in a batch, at most
DECODERS = 2  # threads that decode pictures


@final
class Samples:
    """The routes of a model that answers rows or pictures."""

    def __init__(
        self, intake: Intake, batcher: Batcher, explaining: Explaining, crowd: Crowd, limits: Limits
    ) -> None:
        self._intake, self._batcher, self._explaining = intake, batcher, explaining
        self._crowd = crowd
        self._limits = limits
        self._decoders = ThreadPoolExecutor(DECODERS, "pictures")

    async def predict(self, request: Request) -> Response:
        """What the model answers for each sample of a request, in order."""
        with self._crowd.inside():
            items = await self._read(request)
            found = await unless_gone(request.receive, self._batcher.ask(items))
        return JSONResponse({"predictions": found})

    async def explain(self, request: Request) -> Response:
        """What speaks for the answer to one sample."""
        items = await self._read(request)
        if len(items) > 1:
            raise Rejected(422, f"body: expected one sample to explain, found {len(items)}")
        inputs = self._intake.batch(items).inputs
        found = await unless_gone(request.receive, self._explaining.of(inputs))
        return JSONResponse(found)

    async def _read(self, request: Request) -> list[Any]:
        read = self._rows if self._intake.takes == "rows" else self._pictures
        return await read(request)

    async def _rows(self, request: Request) -> list[Any]:
        """The rows of a body `{"rows": [{COLUMN: VALUE, …}, …]}`."""
        content = await body.read(request, self._limits.text_bytes, self._limits.body_seconds)
        given = body.parsed(content)
        rows = given.get("rows") if isinstance(given, dict) and len(given) == 1 else None
        most = self._limits.samples
        if not isinstance(rows, list) or not 1 <= len(rows) <= most:
            raise Rejected(422, f'body: expected {{"rows": […]}} with 1 to {most} rows')
        found, faults = list[Any](), list[str]()
        for index, row in enumerate(rows):
            try:
                if not isinstance(row, dict):
                    raise DataError("expected a mapping of columns to values")
                found.append(self._intake.read(row))
            except DataError as error:
                faults.append(f"rows.{index}: {error}")
        if faults:
            raise Rejected(422, "\n".join(faults[:20]))
        return found

    async def _pictures(self, request: Request) -> list[Any]:
        """The picture that a body is, or the files of a form."""
        kind = request.headers.get("content-type", "")
        form = kind.startswith("multipart/form-data")
        if not form and not kind.startswith(("image/", "application/octet-stream")):
            expected = "image/…, application/octet-stream or multipart/form-data"
            raise Rejected(415, f"content-type: expected {expected}")
        content = await body.read(request, self._limits.picture_bytes, self._limits.body_seconds)
        files = body.files(content, kind, self._limits.samples) if form else [content]
        loop = asyncio.get_running_loop()
        works = [loop.run_in_executor(self._decoders, self._intake.read, file) for file in files]
        found = await asyncio.gather(*works, return_exceptions=True)
        faults = [f"picture {i}: {e}" for i, e in enumerate(found) if isinstance(e, DataError)]
        if faults:
            raise Rejected(422, "\n".join(faults[:20]))
        for error in found:
            if isinstance(error, BaseException):
                raise error
        return list(found)


def work(bundle: Bundle, intake: Intake) -> Callable[[Sequence[Any]], list[dict[str, Any]]]:
    """What a batch of samples is answered: as `zafu predict`, and the likeliest labels."""

    def answered(items: Sequence[Any]) -> list[dict[str, Any]]:
        logits = bundle.logits(intake.batch(items))
        rows = answer.said(bundle.recipe, logits, bundle.signature, bundle.fitted)
        if bundle.recipe.task.kind != "classification":
            return rows
        likeliest = answer.likeliest(logits, bundle.signature, bundle.fitted, SHOWN)
        return [{**row, "likeliest": top} for row, top in zip(rows, likeliest, strict=True)]

    return answered


def measured(bundle: Bundle, most: int | None) -> Best:
    """As many samples in a batch as pay, or so many, and how many are answered then in a second."""
    if most is None:
        return best_size(lambda size: seconds(bundle, size), MOST)
    seconds(bundle, most)  # the first fills caches
    return Best(most, most / seconds(bundle, most))


def seconds(bundle: Bundle, size: int) -> float:
    """The time of a pass of so many samples of noise."""
    inputs = noise(bundle.signature, size)
    begun = perf_counter()
    bundle.answers(*inputs)
    return perf_counter() - begun


def noise(signature: Signature, size: int) -> tuple[np.ndarray, ...]:
    """So many samples of noise, as the model takes them."""
    inputs, random = signature.inputs, np.random.default_rng(0)
    if isinstance(inputs, Pixels):
        shape = (size, inputs.channels, inputs.height, inputs.width)
        return (random.standard_normal(shape, np.float32),)
    if isinstance(inputs, Tokens):
        return (random.integers(0, inputs.vocab, (size, inputs.context)),)
    numbers = random.standard_normal((size, inputs.numbers), np.float32)
    return (numbers, np.zeros((size, len(inputs.categories)), np.int64))
