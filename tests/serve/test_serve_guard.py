"""A server is closed by default, and what is asked of it in bad faith costs little."""

import base64
import http.client
import json
import re
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import JSON, PICTURE, TOKEN, Said, Server

from zafu.cli import main
from zafu.deploy.bundle import opened
from zafu.run import Run
from zafu.serve.app import Options, served

TRACE = re.compile(rb"Traceback|File \"|\.py\b| at 0x")


def routes(run: Run) -> list[tuple[str, str]]:
    """Every route of a model, as its application lists them."""
    app = served(opened(run.folder), "x", Options(hosts=("localhost",), batch=1)).inner
    return [(m, r.path) for r in app.routes for m in getattr(r, "methods", ())]  # type: ignore[attr-defined]


def test_every_route_asks_for_the_token(guarded: Server, digits: Run) -> None:
    listed = routes(digits)
    assert {path for _, path in listed} >= {
        "/",
        "/page.js",
        "/metrics",
        "/openapi.json",
        "/predict",
    }

    for method, path in [*listed, ("GET", "/nowhere"), ("OPTIONS", "/predict")]:
        for shown in ("", "Bearer wrong", "Basic !", "Basic YTpi"):
            said = guarded.ask(path, method=method, headers={"authorization": shown})
            assert said.status == 401, (method, path)
            assert "www-authenticate" in said.headers


def test_a_browser_may_give_the_token_as_a_password(guarded: Server) -> None:
    word = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()

    assert guarded.ask("/", headers={"authorization": f"Basic {word}"}).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_other_pages_may_not_ask(rows: Server, headers: dict[str, str], status: int) -> None:
    said = rows.ask("/health", headers=headers)

    assert said.status == status
    assert not [name for name in said.headers if name.startswith("access-control")]


def test_another_address_takes_a_token_and_a_name(
    digits: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short, long = tmp_path / "short", tmp_path / "long"
    short.write_text("x" * 31)
    long.write_text("x" * 32)
    serve = ["serve", str(digits.folder), "--port", "0"]
    everywhere = ["--host", "0.0.0.0"]  # noqa: S104

    for options, message in (
        (everywhere, "expected --token-file"),
        ([*everywhere, "--token-file", str(short)], "32 bytes or more, found 31"),
        ([*everywhere, "--token-file", str(long)], "expected --name"),
        (["--kind", "pick"], "zafu bench"),
        (["--engine", "vllm"], "expected"),
        (["--slots", "0"], "--slots: expected a number >= 1"),
    ):
        assert main([*serve, *options]) == 2
        assert message in capsys.readouterr().err


def test_the_page_allows_nothing_from_elsewhere(rows: Server) -> None:
    said = rows.ask("/")

    policy = said.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert not re.search(rb"https?://|<script>|<style|style=| on\w+=", said.body)


HOSTILE = [
    b"[" * 100_000,
    b'{"rows":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"rows": [{"a": NaN}]}',
    b'{"rows": [{"a": 1e999}]}',
    b'{"rows": [], "rows": []}',
    b'{"prompt": "a", "prompt": "b"}',
    b'{"rows": [{"\xff": 1}]}',
    b'{"prompt": "\\ud800"}',
    b'{"rows": [{"\\udfff": 1}]}',
    b'{"rows": ' + b"9" * 5000 + b"}",
    b"\xef\xbb\xbf{}",
    b"",
    b"null",
    b'"',
    b"\x00",
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_json_is_refused(rows: Server, writer: Server, body: bytes) -> None:
    for server, path in ((rows, "/predict"), (writer, "/v1/completions")):
        said = server.ask(path, body, JSON)
        assert said.status in (400, 422)
        assert not TRACE.search(said.body)


NAMES = ("rows", "prompt", "messages", "max_tokens", "temperature", "top_p", "stop", "stream")
NAMES += ("seed", "role", "content", "sepal length (cm)", "model", "stream_options", "n")
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
BODY = st.recursive(
    LEAF,
    lambda x: (
        st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(), x, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(BODY, st.sampled_from([None, "rows", "messages", "prompt"]), st.integers(0, 200))
def test_no_body_breaks_a_server(
    rows: Server, writer: Server, plain: object, key: str | None, cut: int
) -> None:
    """Whole and cut bodies: never a 5xx, never a trace."""
    body = json.dumps({key: plain, "max_tokens": 1} if key else plain).encode()
    for part in (body, body[:cut]):
        for server, path in ((rows, "/predict"), (writer, "/v1/chat/completions")):
            said = server.ask(path, part, JSON)
            assert said.status in (200, 400, 404, 422), said.body
            assert not TRACE.search(said.body)


def test_a_body_that_is_too_large_is_refused_while_it_comes(guarded: Server) -> None:
    """Whether its size is told beforehand or not; memory does not grow with it."""
    before = guarded.metric("memory_bytes")
    for chunked in (False, True):
        begun = time.perf_counter()
        said = pushed(guarded, 400 << 20, chunked=chunked)
        assert said.status == 413
        if not chunked:
            assert time.perf_counter() - begun < 1
    assert guarded.metric("memory_bytes") - before < 48 << 20  # of which 32 MiB are the limit


def pushed(server: Server, size: int, *, chunked: bool) -> Said:
    """The answer while a body of zeros is pushed, which ends as soon as there is one."""
    kind = "transfer-encoding: chunked" if chunked else f"content-length: {size}"
    head = f"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\n{kind}\r\ncontent-type: image/png\r\n"
    head += f"authorization: Bearer {server.token}\r\n\r\n"
    piece = b"\0" * (1 << 16)
    piece = b"10000\r\n" + piece + b"\r\n" if chunked else piece
    with socket.create_connection(("127.0.0.1", server.port), 5) as one:
        one.sendall(head.encode())
        one.setblocking(False)
        end, rest = time.monotonic() + 5, b""
        while time.monotonic() < end:
            try:
                answer = one.recv(1 << 16)
                return Said(int(answer.split(b" ", 2)[1]), {}, answer)
            except BlockingIOError:
                pass
            try:
                rest = rest or piece
                rest = rest[one.send(rest) :]
            except BlockingIOError:
                time.sleep(0.001)
    raise AssertionError("no answer came")


def test_headers_without_end_are_cut_off(rows: Server) -> None:
    with socket.create_connection(("127.0.0.1", rows.port), 5) as one:
        one.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n")
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            one.sendall((b"x-filler: " + b"a" * 1000 + b"\r\n") * 10_000)
    assert rows.ask("/health").status == 200


def test_no_secret_of_a_request_is_told(writer: Server) -> None:
    canary = "canary-1f0c9a"

    answers = [
        writer.ask(f"/{canary}?x={canary}"),
        writer.ask("/v1/completions", {"prompt": canary, "max_tokens": canary}),
        writer.ask("/v1/completions", {"prompt": [canary]}),
        writer.ask("/v1/completions", f'{{"prompt": "{canary}'.encode(), JSON),
    ]

    assert [a.status for a in answers] == [404, 422, 422, 400]
    assert not any(canary.encode() in answer.body for answer in answers)
    assert canary.encode() not in writer.ask("/metrics").body


def test_what_was_accepted_is_answered_before_the_end(text: Run) -> None:
    """A signal amid six streams: each comes to its end, and the exit code is 0."""
    server, found = Server(text.folder), list[bytes]()

    def stream() -> None:
        connection = server.connect()
        body = {"prompt": "def ", "max_tokens": 200, "temperature": 0, "stream": True}
        connection.request("POST", "/v1/completions", json.dumps(body), JSON)
        found.append(connection.getresponse().read())
        connection.close()

    threads = [threading.Thread(target=stream) for _ in range(6)]
    for thread in threads:
        thread.start()
    while server.metric("tokens_total") < 60:
        time.sleep(0.01)
    begun = time.monotonic()
    code, said = server.stop()
    for thread in threads:
        thread.join()

    assert code == 0, said
    assert time.monotonic() - begun < 10
    assert len(found) == 6
    assert all(one.endswith(b"data: [DONE]\n\n") for one in found)
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=1).request("GET", "/")


def test_a_second_signal_ends_at_once(digits: Run) -> None:
    server = Server(digits.folder, "--batch", "4")
    assert server.ask("/predict", b"x", PICTURE).status == 422

    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(2) == 128 + signal.SIGTERM
    server.stop()
