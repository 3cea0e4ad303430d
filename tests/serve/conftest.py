"""Three small models, each behind a server that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from serving import TOKEN, Server

import zafu
from zafu.recipe import Recipe
from zafu.run import Run
from zafu.serve.needs import PACKAGES

ABSENT = [package for package in PACKAGES if find_spec(package) is None]
collect_ignore_glob = ["test_*.py"] if ABSENT else []  # they need the extra `serve`

FIT: dict[str, Any] = {"optimizer": "adamw", "threads": 1, "trackers": [], "device": "cpu"}
DIGITS: dict[str, Any] = {
    "task": "classification",
    "data": "digits",
    "model": {"kind": "convnet", "width": 8},
    "fit": {**FIT, "batch": 64, "epochs": 2},
    "evaluate": {"baselines": []},
}
FLOWERS: dict[str, Any] = {
    "task": "classification",
    "data": {"kind": "table", "files": ["sklearn:iris"], "target": "target"},
    "model": {"kind": "mlp", "width": 16, "layers": 1},
    "fit": {**FIT, "batch": 16, "epochs": 5},
    "evaluate": {"baselines": []},
}
TEXT: dict[str, Any] = {
    "task": "language-modeling",
    "data": {
        "kind": "text",
        "files": ["stdlib:asyncio/*.py"],
        "context": 256,
        "tokenizer": {"kind": "bpe", "vocab": 300},
    },
    "model": {"kind": "decoder", "width": 32, "layers": 2, "heads": 2, "tied": True},
    "fit": {**FIT, "batch": 4, "steps": 10},
    "evaluate": {"baselines": [], "during": 64, "prompts": []},
}


def trained(recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return zafu.train(Recipe.parse(recipe), runs=tmp_path_factory.mktemp("runs"))


def stopped(server: Server) -> None:
    code, said = server.stop()
    assert code == 0, said
    assert "Traceback" not in said
    assert TOKEN not in said


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(DIGITS, tmp_path_factory)


@pytest.fixture(scope="session")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(FLOWERS, tmp_path_factory)


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(TEXT, tmp_path_factory)


@pytest.fixture(scope="session")
def guarded(digits: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Digits, with a token."""
    file: Path = tmp_path_factory.mktemp("token") / "token"
    file.write_text(TOKEN)
    server = Server(digits.folder, "--token-file", str(file))
    server.token = TOKEN
    yield server
    stopped(server)


@pytest.fixture(scope="session")
def rows(flowers: Run) -> Iterator[Server]:
    server = Server(flowers.folder)
    yield server
    stopped(server)


@pytest.fixture(scope="session")
def writer(text: Run) -> Iterator[Server]:
    server = Server(text.folder, "--slots", "4")
    yield server
    stopped(server)
