"""Pictures inside a page."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np


def uri(picture: np.ndarray) -> str:
    """A picture `(1 or 3 channels, height, width)` uint8 as a PNG in a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}"


def png(picture: np.ndarray) -> bytes:
    """A picture `(1 or 3 channels, height, width)` uint8 as the bytes of a PNG (RFC 2083)."""
    channels, height, width = picture.shape
    lines = picture.transpose(1, 2, 0).reshape(height, -1)
    plain = np.concatenate([np.zeros((height, 1), np.uint8), lines], 1).tobytes()  # no filter
    kind = 0 if channels == 1 else 2
    chunks = [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
        _chunk(b"IDAT", zlib.compress(plain, 9)),
        _chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
