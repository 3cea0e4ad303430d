"""Requests by chance, most of them wrong: none may break a server or show what is inside."""

from __future__ import annotations

import http.client
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from served import FIT, MODELS, serving

import zafu
from zafu.recipe import Recipe

TRACE = re.compile(rb"Traceback|File \"|\.py\b| at 0x")
TABLE: dict[str, Any] = {
    "task": "classification",
    "data": {"kind": "table", "files": ["sklearn:iris"], "target": "target"},
    "model": {"kind": "mlp", "width": 16, "layers": 1},
    "fit": {**FIT, "optimizer": "adamw", "batch": 16, "epochs": 2},
    "evaluate": {"baselines": []},
}
ROW = {f"{part} {size} (cm)": 1.5 for part in ("sepal", "petal") for size in ("length", "width")}
SOUND: dict[str, dict[str, Any]] = {
    "/predict": {"rows": [ROW, ROW]},
    "/explain": {"rows": [ROW]},
    "/v1/completions": {"prompt": "def f", "max_tokens": 1, "temperature": 0, "stop": ["x"]},
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": "def f"}],
        "max_tokens": 1,
        "stream": True,
    },
}
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, -0.0, 10**40, "", "\x00", "\ud800", "é" * 300, [], {}, [[[]]],
    {"": {"": ""}}, "rows", 2**63, [None] * 300,
)  # fmt: skip
RAW = (
    b"NaN", b"-Infinity", b"1e999", b"\xff\xfe", b"\xc0\x80", b"[" * 100_000, b'{"a":' * 500,
    b'"\\ud800"', b"\x00", b",", b"}", b"\xef\xbb\xbf", b"9" * 5000, b"'", b"/**/",
)  # fmt: skip
KINDS = ("application/json", "text/plain", "image/png", "multipart/form-data; boundary=x", "\xff")
METHODS = ("POST", "POST", "POST", "POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS")


def odd(plain: Any, chance: random.Random) -> Any:
    """With something in it replaced, left out or put in, as deep as chance goes."""
    if chance.random() < 0.3 or not isinstance(plain, (dict, list)) or not plain:
        return chance.choice(ODD)
    if isinstance(plain, list):
        at = chance.randrange(len(plain))
        return [*plain[:at], odd(plain[at], chance), *plain[at + chance.randint(0, 1) :]]
    key = chance.choice(list(plain))
    if chance.random() < 0.2:
        return {name: value for name, value in plain.items() if name != key}
    name = key if chance.random() < 0.8 else chance.choice(("model", "n", "", "\ud800", key + " "))
    return {**plain, name: odd(plain[key], chance)}


def damaged(body: bytes, chance: random.Random) -> bytes:
    """Cut, repeated, with a byte or a piece that does not belong there."""
    at, to = sorted(chance.randrange(len(body) + 1) for _ in range(2))
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: body[:at],
        lambda: body[:to] + body[at:],
        lambda: body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :],
        lambda: body[:at] + chance.choice(RAW) + body[to:],
        lambda: body[:at] + chance.choice(RAW) + body[at:],
    )
    return chance.choice(ways)()


def request(paths: list[str], chance: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    """Method, path, body and headers."""
    path, method = chance.choice(paths), "POST"
    plain, kind = SOUND[path], "application/json"
    for _ in range(chance.randint(0, 2)):
        plain = odd(plain, chance)
    body = json.dumps(plain).encode()
    if chance.random() < 0.4:
        body = damaged(body, chance)
    if chance.random() < 0.1:
        kind, method = chance.choice(KINDS), chance.choice(METHODS)
    if chance.random() < 0.05:
        path = chance.choice(("/", "/../etc/passwd", "/%00", "/v1/" + "x" * 3000, "/metrics", path))
    return method, path, body, {"content-type": kind}


def fuzzed(folder: Path, *, quick: bool) -> dict[str, Any]:
    """How many of 20,000 requests were answered how, by a table's server and a decoder's."""
    counts, bad, ends = Counter[str](), list[str](), 0
    for name, recipe in {"rows": TABLE, "texts": MODELS["python, decoder"]}.items():
        run = zafu.train(Recipe.parse(recipe), runs=folder).folder
        paths = [path for path in SOUND if ("v1" in path) == (name == "texts")]
        with serving("-m", "zafu", "serve", str(run), "--port", "0") as (port, process):
            chance = random.Random(name)  # noqa: S311  (no secret)
            for _ in range(500 if quick else 10_000):
                status, said = answer(port, *request(paths, chance))
                counts[f"{status // 100}xx"] += 1
                if status >= 500 or not status or TRACE.search(said):
                    bad.append(f"{status} {said[:200]!r}")
            ends += process.poll() is not None
    for text in bad[:10]:
        print(f"  {text}")
    said = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    return {
        "what": f"{sum(counts.values())} requests by chance",
        "measured": f"{said}; {len(bad)} broken, {ends} exits",
        "mark": "no 5xx, exit or trace",
        "kept": not bad and not ends,
    }


def answer(
    port: int, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, bytes]:
    """Status and body; 0 where there was none."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        client.request(method, path, body, headers)
        found = client.getresponse()
        return found.status, found.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error).encode()
    finally:
        client.close()
