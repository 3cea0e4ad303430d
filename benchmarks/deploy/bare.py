"""The peer: a model behind a bare FastAPI endpoint, as tutorials have it; a pass for each request.

python benchmarks/deploy/bare.py RUN        # says its address, then serves
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from zafu.answer import continued
from zafu.build import load_model
from zafu.deploy.bundle import opened
from zafu.nets.sampling import Choice


def pictures(app: FastAPI, folder: Path) -> None:
    """Decode and answer, one picture at a time."""
    bundle = opened(folder)
    intake = bundle.recipe.data.intake(bundle.fitted)

    def answered(content: bytes) -> list[dict[str, Any]]:
        return bundle.said(intake.batch([intake.read(content)]))

    @app.post("/predict")
    async def predict(request: Request) -> list[dict[str, Any]]:
        return await run_in_threadpool(answered, await request.body())


def texts(app: FastAPI, folder: Path) -> None:
    """Write one text at a time in each thread."""
    module = load_model(folder / "model")[0]

    @app.post("/v1/completions")
    def complete(asked: dict[str, Any]) -> dict[str, Any]:
        choice = Choice(temperature=asked["temperature"])
        pieces = continued(
            module,
            folder / "model",
            asked["prompt"],
            length=asked["max_tokens"],
            choice=choice,
            seed=0,
        )
        return {"text": "".join(pieces)}


def main() -> None:
    """Serve a run."""
    folder, app = Path(sys.argv[1]), FastAPI()
    (texts if (folder / "model" / "tokenizer.json").is_file() else pictures)(app, folder)
    with socket.socket() as where:
        where.bind(("127.0.0.1", 0))
        where.listen(2048)
        print(f"http://127.0.0.1:{where.getsockname()[1]}/", file=sys.stderr, flush=True)
        config = uvicorn.Config(app, log_level="critical", access_log=False)
        uvicorn.Server(config).run(sockets=[where])


if __name__ == "__main__":
    main()
