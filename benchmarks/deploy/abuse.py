"""Abuse of a server, and what it costs the others; each row is a measurement beside its mark."""

from __future__ import annotations

import base64
import http.client
import json
import re
import signal
import socket
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from served import LARGE, MODELS, p99, plan_of, serving

import zafu
from zafu.bench.load import Heard, Plan, run
from zafu.recipe import Recipe

Row = dict[str, Any]


def measured(folder: Path, *, quick: bool) -> list[Row]:
    """A row for each kind of abuse."""
    small, large, decoder = (
        zafu.train(Recipe.parse(recipe), runs=folder).folder
        for recipe in (MODELS["digits, vit"], LARGE, MODELS["python, decoder"])
    )
    rows: list[Row] = []
    seconds = 3.0 if quick else 10.0
    with serving(*_words(large)) as (port, process):
        plan = plan_of(large, port, seconds)
        rows += overload("a vit of 9 M", plan, process.pid, quick=quick)
    with serving(*_words(small)) as (port, process):
        plan = plan_of(small, port, seconds)
        rows += [large_body(port), *half_open(plan)]
        rows += overload("a vit of 1.6 M", plan, process.pid, quick=quick)
    with serving(*_words(decoder)) as (port, _):
        rows.append(vanished(port))
    rows.append(ended(small, quick=quick))
    for row in rows:
        print(f"  {row['what']}: {row['measured']} ({row['mark']})", flush=True)
    return rows


def _words(folder: Path) -> tuple[str, ...]:
    return ("-m", "zafu", "serve", str(folder), "--port", "0")


def _row(what: str, measured: str, mark: str, *, kept: bool) -> Row:
    return {"what": what, "measured": measured, "mark": mark, "kept": kept}


def metric(port: int, name: str) -> float:
    """The sum of a metric over its labels."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.request("GET", "/metrics")
    text = client.getresponse().read().decode()
    client.close()
    return sum(float(v) for v in re.findall(rf"^zafu_{name}(?:{{.*}})? (\S+)$", text, re.M))


def large_body(port: int) -> Row:
    """400 MB pushed at /predict."""
    before, begun, sent = metric(port, "memory_bytes"), time.perf_counter(), 0
    head = "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\n"
    with socket.create_connection(("127.0.0.1", port), 10) as one:
        one.sendall(f"{head}content-length: {400 << 20}\r\n\r\n".encode())
        one.setblocking(False)
        answer = b""
        while not answer and time.perf_counter() - begun < 10:
            try:
                answer = one.recv(4096)
            except BlockingIOError:
                try:
                    sent += one.send(b"\0" * (1 << 18))
                except BlockingIOError:
                    time.sleep(0.001)
    took = time.perf_counter() - begun
    grown = (metric(port, "memory_bytes") - before) / 2**20
    status = answer[9:12].decode()
    return _row(
        "a body of 400 MB",
        f"{status} after {took * 1000:.0f} ms, memory {grown:+.1f} MiB",
        "413 in 1 s, +16 MiB",
        kept=status == "413" and took < 1 and grown < 16,
    )


def half_open(plan: Plan) -> list[Row]:
    """900 connections that never end their headers, while others ask."""
    alone = run(replace(plan, clients=2))
    begun, doors = time.perf_counter(), list[socket.socket]()
    for _ in range(900):
        one = socket.create_connection(("127.0.0.1", plan.port), 10)
        one.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ")
        doors.append(one)
    heard: list[Heard] = []
    others = threading.Thread(target=lambda: heard.append(run(replace(plan, clients=2, seconds=9))))
    others.start()
    last = 0.0
    for one in doors:
        one.settimeout(max(0.1, begun + 30 - time.perf_counter()))
        try:
            while one.recv(4096):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            last = 99.0
        last = max(last, time.perf_counter() - begun)
        one.close()
    others.join()
    slow, before = p99(heard[0]), p99(alone)
    return [
        _row(
            "900 half-open connections", f"all closed after {last:.1f} s", "15 s", kept=last <= 15
        ),
        _row(
            "others meanwhile",
            f"p99 {slow:.1f} ms ({before:.1f} before), {heard[0].failed} failed",
            "100 ms",
            kept=slow < 100 and not heard[0].failed,
        ),
    ]


def overload(name: str, plan: Plan, pid: int, *, quick: bool) -> list[Row]:
    """Four times what it can answer, by chance; clients share the server's processors."""
    alone = p99(run(plan))
    able = run(replace(plan, clients=32))
    rate = 4 * len(able.took) / able.seconds
    before = _resident(pid)
    heard = run(replace(plan, clients=1, rate=rate, seconds=10 if quick else 60))
    grown = (_resident(pid) - before) / before
    refused = sorted(heard.refused)
    late = 1000 * refused[int(0.99 * len(refused))] if refused else 0.0
    good = len(heard.took) / heard.seconds
    return [
        _row(
            f"{name}, 4 times too much ({rate:.0f}/s)",
            f"accepted {good:.0f}/s of {rate / 4:.0f}, p99 {p99(heard):.1f} ms "
            f"({alone:.1f} unloaded), {heard.failed} failed",
            "p99 at most twice, none failed",
            kept=p99(heard) <= 2 * alone and not heard.failed,
        ),
        _row(
            "what is refused",
            f"{len(refused)}, p99 {late:.1f} ms",
            "50 ms",
            kept=bool(refused) and late < 50,
        ),
        _row("memory meanwhile", f"{grown:+.1%}", "10 %", kept=abs(grown) <= 0.1),
    ]


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


def vanished(port: int) -> Row:
    """16 texts whose readers go away."""
    body = json.dumps({"prompt": "def ", "max_tokens": 120, "stream": True})
    clients = [http.client.HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(16)]
    for client in clients:
        client.request("POST", "/v1/completions", body, {"content-type": "application/json"})
    for client in clients:
        client.close()
    begun = time.perf_counter()
    while metric(port, "open_requests") > 1 and time.perf_counter() - begun < 20:
        time.sleep(0.01)
    took = time.perf_counter() - begun
    return _row("16 vanished clients", f"slots free after {took:.2f} s", "1 s", kept=took <= 1)


def ended(folder: Path, *, quick: bool) -> Row:
    """SIGTERM while 16 clients ask: each request that was sent must be answered."""
    counts = {"answered": 0, "dropped": 0}
    lock = threading.Lock()
    with serving(*_words(folder)) as (port, process):
        plan = plan_of(folder, port, 1)
        head = base64.b64decode(plan.bodies[0])
        threads = [
            threading.Thread(target=_until_gone, args=(port, head, counts, lock)) for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        time.sleep(1 if quick else 3)
        begun = time.perf_counter()
        code = _terminated(process)
        took = time.perf_counter() - begun
        for thread in threads:
            thread.join()
    return _row(
        "SIGTERM amid 16 clients",
        f"over in {took:.1f} s with code {code}, {counts['dropped']} dropped of "
        f"{counts['answered'] + counts['dropped']}",
        "10 s, code 0, none",
        kept=took <= 10 and code == 0 and not counts["dropped"],
    )


def _terminated(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(30)


def _until_gone(port: int, body: bytes, counts: dict[str, int], lock: threading.Lock) -> None:
    """Ask until no connection can be made; a request that was sent and not answered is dropped."""
    while True:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            client.connect()
        except OSError:
            return
        while client.sock:
            try:
                client.request("POST", "/predict", body, {"content-type": "image/png"})
                good = client.getresponse().read() and "answered"
            except (OSError, http.client.HTTPException):
                good = "dropped"
                client.close()
            with lock:
                counts[good or "dropped"] += 1
