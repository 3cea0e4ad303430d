"""metrics.jsonl: what is appended is read back, whatever ends the process between two bytes."""

import json
import math
import signal
import struct
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.errors import Damaged
from zafu.track.metrics import SPECIAL, Metrics, read

NAMES = st.text(max_size=8).filter(lambda s: s not in SPECIAL and not _surrogate(s))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NAMES
ROWS = st.lists(
    st.fixed_dictionaries(
        {"step": st.integers(0, 20)},
        optional={"loss": st.floats(allow_nan=False), "scores": st.dictionaries(NAMES, LEAVES)},
    ),
    max_size=12,
)


@given(rows=ROWS)
@settings(deadline=None, max_examples=50)
def test_every_row_comes_back_as_it_was(rows: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        with Metrics(path) as metrics:
            for row in rows:
                metrics.append(row)

        assert read(path) == rows


@given(value=st.floats())
@settings(deadline=None, max_examples=100)
def test_a_float_comes_back_with_the_same_bits(value: float) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        with Metrics(path) as metrics:
            metrics.append({"step": 1, "loss": value})

        loss = read(path)[0]["loss"]

    assert isinstance(loss, float)
    assert math.isnan(loss) if math.isnan(value) else _bits(loss) == _bits(value)


def test_lines_are_json_without_extensions(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    with Metrics(tmp_path / "metrics.jsonl") as metrics:
        metrics.append({"step": 1, "loss": math.nan, "x": [math.inf, -math.inf], "é\u2028": "\n"})

    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()

    assert json.loads(lines[0], parse_constant=refuse)["x"] == ["Infinity", "-Infinity"]
    assert len(lines) == 1
    assert lines[0].isascii()


def test_a_text_that_would_be_read_as_a_number_is_refused(tmp_path: Path) -> None:
    with Metrics(tmp_path / "metrics.jsonl") as metrics, pytest.raises(ValueError, match="NaN"):
        metrics.append({"step": 1, "split": "NaN"})


@given(rows=ROWS, step=st.integers(-1, 21))
@settings(deadline=None, max_examples=50)
def test_cut_keeps_exactly_the_rows_up_to_the_step(rows: list[dict[str, Any]], step: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        with Metrics(path) as metrics:
            for row in rows:
                metrics.append(row)
            metrics.cut(step)
            after = read(path)
            metrics.append({"step": 99})

        assert after == [row for row in rows if row["step"] <= step]
        assert read(path) == [*after, {"step": 99}]
        assert [p.name for p in Path(folder).iterdir()] == ["metrics.jsonl"]


def test_a_file_torn_at_any_byte_loses_at_most_the_torn_row(tmp_path: Path) -> None:
    rows = [{"step": n, "loss": 1 / n, "name": 'a"}\n{é\u2028'} for n in (1, 2, 3)]
    with Metrics(tmp_path / "whole.jsonl") as metrics:
        for row in rows:
            metrics.append(row)
    whole = (tmp_path / "whole.jsonl").read_bytes()
    ends = [n for n in range(len(whole)) if whole[n : n + 1] == b"\n"]

    for size in range(len(whole) + 1):
        path = tmp_path / "torn.jsonl"
        path.write_bytes(whole[:size])
        complete = rows[: sum(end <= size for end in ends)]  # without its newline it is whole too

        assert read(path) == complete
        with Metrics(path) as metrics:
            metrics.append({"step": 4})
        assert read(path) == [*complete, {"step": 4}]


@pytest.mark.parametrize("tail", [b"\0" * 100, b"[1]", b"7", b'"x"', b"\xff", b"[" * 100_000])
def test_a_tail_that_is_no_row_is_dropped(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step":1}\n' + tail)

    with Metrics(path) as metrics:
        metrics.append({"step": 2})

    assert read(path) == [{"step": 1}, {"step": 2}]


def test_damage_before_the_last_row_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step":1}\n{"ste\n{"step":3}\n')

    with pytest.raises(Damaged, match=r"metrics\.jsonl:2: expected a JSON object"):
        read(path)


def test_a_killed_process_loses_no_row_that_it_appended(tmp_path: Path) -> None:
    program = (
        "import sys, os, signal; from pathlib import Path; from zafu.track.metrics import Metrics\n"
        "m = Metrics(Path(sys.argv[1]))\n"
        "for n in range(100): m.append({'step': n})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "metrics.jsonl"

    ended = subprocess.run([sys.executable, "-c", program, path])

    assert ended.returncode == -signal.SIGKILL
    assert [row["step"] for row in read(path)] == list(range(100))


def test_an_absent_file_has_no_rows_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "metrics.jsonl"

    before = read(path)
    Metrics(path).close()

    assert before == []
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["metrics.jsonl"]


def _surrogate(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)
