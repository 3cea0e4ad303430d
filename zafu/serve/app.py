"""The application: which routes a model has, behind the guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.resources import files
from threading import Timer
from typing import Any, NamedTuple

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from zafu.deploy.bundle import Bundle
from zafu.errors import ZafuError
from zafu.serve import refusal, samples, voices
from zafu.serve.batching import Batcher
from zafu.serve.crowd import PATIENCE, Crowd
from zafu.serve.explaining import Explaining
from zafu.serve.guard import Guard, reject
from zafu.serve.limits import Limits
from zafu.serve.metrics import Metrics
from zafu.serve.openai import Chat, Completion, Prompt
from zafu.serve.refusal import Rejected
from zafu.serve.samples import Samples
from zafu.serve.speaking import Speaking, short
from zafu.serve.texts import Texts
from zafu.spec import Spec
from zafu.tokenizers import encoder

PAGE = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.svg": ("page.svg", "image/svg+xml"),
}

CROWD, RUSH = 64, 0.1  # requests in flight at most: so many, or those of so many seconds
SPARE = 2.0  # seconds before the end of a drain in which texts are cut short


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user may set."""

    hosts: Sequence[str]  # names under which the server is known
    token: str | None = None
    batch: int | None = None  # samples in a batch; None: as many as pay, which is measured
    patience: float = PATIENCE  # as often as it takes alone, an answer takes amid too many
    slots: int = 16  # texts that are written at once
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Served:
    """A model behind its routes."""

    app: Guard
    inner: FastAPI  # its routes
    said: str  # how requests are brought together, in words
    drain: Callable[[], None]  # new work ends sooner from now on


class Turned(Response):
    """The response to a request that is refused."""

    def __init__(self, found: Rejected) -> None:
        super().__init__(None, found.status)
        self._found = found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and let a body that is too large run out."""
        await reject(self._found, receive, send)


def served(bundle: Bundle, name: str, options: Options) -> Served:
    """A finished model with its routes, its page, and the guard before them."""
    metrics = Metrics()
    app = FastAPI(title=f"zafu: {name}", docs_url=None, redoc_url=None)
    app.add_exception_handler(Rejected, _rejected)
    app.add_exception_handler(ZafuError, _rejected)
    app.add_exception_handler(HTTPException, _rejected)
    app.add_exception_handler(Exception, _rejected)  # the guard logs where it arose
    add = _add_texts if bundle.recipe.task.kind == "language-modeling" else _add_samples
    added = add(app, bundle, name, options, metrics)
    guard = Guard(app, options.hosts, token=options.token, limits=options.limits, metrics=metrics)
    guard.admits = added.admits
    about = {"name": name, "runtime": bundle.kind, "task": bundle.recipe.task.kind}
    _add_common(app, guard, metrics, {**added.about, **about})

    def drain() -> None:
        guard.closing = True
        added.finish()

    return Served(guard, app, added.said, drain)


class Added(NamedTuple):
    """The routes of a model, as the rest must know them."""

    about: dict[str, Any]
    said: str  # how requests are brought together
    admits: dict[str, Callable[[], None]]  # by path: raises Rejected where it is too full
    finish: Callable[[], None]  # new work ends sooner from now on


def _add_texts(
    app: FastAPI, bundle: Bundle, name: str, options: Options, metrics: Metrics
) -> Added:
    """The routes of a language model."""
    words = encoder.load(bundle.fitted)
    voice = voices.of(bundle, options.slots)
    thread = None if short(voice) else ThreadPoolExecutor(1, "model")
    speaking = Speaking(voice, words.end, metrics, waiting=4 * voice.slots, thread=thread)
    explaining = Explaining(bundle)
    texts = Texts(name, words, speaking, explaining, options.limits)
    app.get("/v1/models")(texts.models)
    app.post("/explain", openapi_extra=_taking(Prompt))(texts.explain)
    app.post("/v1/completions", openapi_extra=_taking(Completion))(texts.completions)
    app.post("/v1/chat/completions", openapi_extra=_taking(Chat))(texts.chat)
    last = Timer(max(0.0, options.limits.drain_seconds - SPARE), speaking.finish)
    last.daemon = True
    about = {"takes": "text", "context": voice.context}
    paths = ("/v1/completions", "/v1/chat/completions")
    admits = {**dict.fromkeys(paths, speaking.admit), "/explain": explaining.admit}
    return Added(about, f"up to {voice.slots} texts at once", admits, last.start)


def _add_samples(app: FastAPI, bundle: Bundle, _: str, options: Options, metrics: Metrics) -> Added:
    """The route of a model that answers rows or pictures."""
    intake = bundle.recipe.data.intake(bundle.fitted)
    size, rate = samples.measured(bundle, options.batch)
    batcher = Batcher(samples.work(bundle, intake), size, metrics)
    most = max(CROWD, size, round(RUSH * rate))
    crowd = Crowd(most, metrics, patience=options.patience, shed=batcher.shed)
    explaining = Explaining(bundle)
    routes = Samples(intake, batcher, explaining, crowd, options.limits)
    app.post("/predict")(routes.predict)
    app.post("/explain")(routes.explain)
    columns = [column._asdict() for column in intake.columns]
    about = {"takes": intake.takes, "columns": columns, "labels": bundle.signature.labels}
    admits = {"/predict": crowd.admit, "/explain": explaining.admit}
    return Added(about, f"batches of up to {batcher.most} samples", admits, lambda: None)


def _add_common(app: FastAPI, guard: Guard, metrics: Metrics, about: dict[str, Any]) -> None:
    """What every model has: its page, and how the server does."""

    async def health(_: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        """It takes new work."""
        if guard.closing:
            raise Rejected(503, "the server is about to end")
        return JSONResponse({"status": "ready"})

    async def measured(_: Request) -> Response:
        """What it counted, as Prometheus reads it."""
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    async def told(_: Request) -> Response:
        """What the model takes, and what it answers with."""
        return JSONResponse(about)

    for path, route in {
        "/health": health,
        "/ready": ready,
        "/metrics": measured,
        "/about": told,
        **{path: _file(*file) for path, file in PAGE.items()},
    }.items():
        app.get(path)(route)


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = files("zafu.serve").joinpath("page", name).read_bytes()

    async def page(_: Request) -> Response:
        return Response(content, media_type=kind)

    return page


def _taking(spec: type[Spec]) -> dict[str, Any]:
    """What the description of a route says of its body."""
    schema = spec.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def _rejected(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        text = f"{error.detail}; GET /openapi.json lists routes"
        return Turned(Rejected(error.status_code, text))
    if isinstance(error, ZafuError):
        return Turned(refusal.of(error))
    return Turned(error if isinstance(error, Rejected) else refusal.OURS)
