"""S3: a hostile safetensors header is refused as Damaged, at once and in little memory."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zafu import tensors
from zafu.errors import Damaged, Refused


def _file(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _tensor(begin: int, end: int, shape: tuple[int, ...] = (1,), dtype: str = "F32") -> object:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


FOUR = b"\0" * 4
EVIL = {
    "an empty file": lambda: b"",
    "seven bytes": lambda: b"\0" * 7,
    "a header of no bytes": lambda: struct.pack("<Q", 0),
    "a header of 2^63 bytes": lambda: _file({}, length=2**63),
    "a header of 2^64 - 1 bytes": lambda: _file({}, length=2**64 - 1),
    "a header longer than the file": lambda: _file({"a": _tensor(0, 4)}, length=5000),
    "a header cut short": lambda: _file({"a": _tensor(0, 4)}, FOUR, length=20),
    "tensors that overlap": lambda: _file({"a": _tensor(0, 4), "b": _tensor(0, 4)}, FOUR),
    "a hole": lambda: _file({"a": _tensor(4, 8)}, FOUR * 2),
    "data past the end": lambda: _file({"a": _tensor(0, 400, (100,))}, FOUR),
    "data that nobody names": lambda: _file({"a": _tensor(0, 4)}, FOUR * 9),
    "an end before the beginning": lambda: _file({"a": _tensor(4, 0)}, FOUR),
    "a shape that overflows": lambda: _file({"a": _tensor(0, 4, (2**62, 2**62))}, FOUR),
    "a shape that overflows to 0": lambda: _file({"a": _tensor(0, 0, (2**32, 2**32))}),
    "a shape below 0": lambda: _file({"a": _tensor(0, 4, (-1,))}, FOUR),
    "a shape and data that differ": lambda: _file({"a": _tensor(0, 4, (3,))}, FOUR),
    "an offset that is huge": lambda: _file({"a": _tensor(2**63, 2**63 + 4)}, FOUR),
    "an unknown type": lambda: _file({"a": _tensor(0, 4, dtype="OBJECT")}, FOUR),
    "a name twice": lambda: _file(
        b'{"a":%s,"a":%s}' % ((json.dumps(_tensor(0, 4)).encode(),) * 2), FOUR
    ),
    "metadata twice": lambda: _file(b'{"__metadata__":{},"__metadata__":{}}'),
    "metadata of numbers": lambda: _file({"__metadata__": {"format": 1}}),
    "a hundred thousand brackets": lambda: _file(b"[" * 100_000),
    "a million braces": lambda: _file(b'{"a":' * 1_000_000),
    "99 MB of blanks": lambda: _file(b"{}" + b" " * 99_000_000),
    "300,000 empty tensors": lambda: _file({f"t{i}": _tensor(0, 0, (0,)) for i in range(300_000)}),
    "as many empty tensors as fit": lambda: _file(
        {f"{i:x}": _tensor(0, 0, (0,)) for i in range(110_000)}
    ),
    "a list": lambda: _file([]),
    "null": lambda: _file(b"null"),
    "text of another encoding": lambda: _file(json.dumps({"a": 1}).encode("utf-16")),
    "bytes that are no text": lambda: _file(b"\xff\xfe\xfa" * 10),
    "a number of 5000 digits": lambda: _file(b'{"a":' + b"9" * 5000 + b"}"),
    "a pickle": lambda: b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00",
    "a zip archive": lambda: b"PK\x03\x04" + b"\0" * 100,
}


@pytest.mark.parametrize("name", EVIL)
def test_it_is_refused_at_once(name: str, tmp_path: Path) -> None:
    file = tmp_path / "evil.safetensors"
    file.write_bytes(EVIL[name]())
    begun = time.process_time()

    with pytest.raises(Damaged, match=r"evil\.safetensors"):
        tensors.read(file)

    assert time.process_time() - begun < 1


def test_a_header_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "evil.safetensors"
    file.write_bytes(EVIL["99 MB of blanks"]())
    tracemalloc.start()

    with pytest.raises(Damaged):
        tensors.read(file)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_the_most_tensors_that_are_read_take_less_than_a_second(tmp_path: Path) -> None:
    file = tmp_path / "many.safetensors"
    many = {f"t{i}": torch.zeros(0) for i in range(tensors.MOST_TENSORS - 1)}  # and the metadata
    tensors.write(file, many)
    begun = time.process_time()

    assert len(tensors.read(file)) == len(many)

    assert time.process_time() - begun < 1
    with pytest.raises(Refused):
        tensors.write(file, {**many, "one more": torch.zeros(0)})


@pytest.mark.parametrize("path", ["", "absent", "folder"])
def test_what_is_no_file_is_damaged(path: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(Damaged):
        tensors.read(tmp_path / path)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_changed_file_is_read_or_damaged_and_nothing_else(
    data: st.DataObject, tmp_path: Path
) -> None:
    file = tmp_path / "changed.safetensors"
    sound = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(3, dtype=torch.float64)}
    tensors.write(file, sound)
    changed = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        change = data.draw(st.sampled_from(["byte", "cut", "insert", "digit"]))
        if change == "byte":
            changed[place] = data.draw(st.integers(0, 255))
        elif change == "digit":
            changed[place] = data.draw(st.sampled_from(b'0123456789-[]{},:"'))
        elif change == "cut":
            del changed[place : place + data.draw(st.integers(1, 9))]
        else:
            changed[place:place] = data.draw(st.binary(min_size=1, max_size=9))
        if not changed:
            break
    file.write_bytes(changed)

    try:
        found = tensors.read(file)
    except Damaged:
        return

    assert all(isinstance(tensor, torch.Tensor) for tensor in found.values())


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    header=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
        max_leaves=20,
    ),
    data=st.binary(max_size=32),
)
def test_a_header_of_any_json_is_read_or_damaged(
    header: object, data: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "any.safetensors"
    file.write_bytes(_file(header, data))

    try:
        tensors.read(file)
    except Damaged:
        return
