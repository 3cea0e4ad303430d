"""Picture files to bytes, by Pillow in threads; the size is checked before a picture is decoded."""

from __future__ import annotations

import importlib.util
import struct
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zafu.data.files import refuse
from zafu.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image

    from zafu.data.pixels import Fitted

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MOST_PIXELS = 64 << 20  # 67 million in one picture: 200 MB as RGB
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, KeyError)


def require_pillow() -> None:
    """Raises MissingExtra where Pillow is not installed."""
    if importlib.util.find_spec("PIL") is None:
        raise MissingExtra("pillow", "image")


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its name; hidden files and folders are none."""
    hidden = path.name.startswith(".") or path.parent.name.startswith(".")
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()


def decode(files: Sequence[Path], out: np.ndarray) -> list[str]:
    """Fill `out` `(files, channels, height, width)` uint8 in place; a fault for each bad file."""
    from PIL import Image

    def one(index: int) -> str:
        try:
            out[index] = _pixels(files[index], out.shape[1:])
        except (*_UNREADABLE, struct.error, zlib.error, Image.DecompressionBombError) as error:
            return f"{files[index]}: expected a picture: {error}"
        return ""

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is lower
        return [fault for fault in pool.map(one, range(len(files))) if fault]


def new_pictures(fitted: Fitted, file: Path) -> tuple[np.ndarray, list[str]]:
    """A picture or all below a folder as `(n, channels, height, width)` uint8, and their names."""
    require_pillow()
    files = sorted(p for p in file.rglob("*") if is_picture(p)) if file.is_dir() else [file]
    if not files:
        raise DataError(f"{file}: expected pictures ({', '.join(SUFFIXES)}), found none")
    out = np.empty((len(files), len(fitted.mean), fitted.height, fitted.width), np.uint8)
    refuse(decode(files, out))
    root = file if file.is_dir() else file.parent
    return out, [path.relative_to(root).as_posix() for path in files]


def _pixels(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The picture upright, cut about its center and resized, `(channels, height, width)`."""
    from PIL import Image, ImageOps

    channels, height, width = shape
    with Image.open(file) as image:  # reads the header only
        if image.width * image.height > MOST_PIXELS:
            found = f"{image.width} x {image.height}"
            raise ValueError(f"expected at most {MOST_PIXELS:,} pixels, found {found}")
        upright = ImageOps.exif_transpose(image)
        colored = _colored(upright, "L" if channels == 1 else "RGB")
        fitted = ImageOps.fit(colored, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(height, width, channels).transpose(2, 0, 1)


def _colored(image: Image, mode: str) -> Image:
    """The picture in this mode, what is transparent shown on white."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        raise ValueError(f"expected 8 bits a channel, found mode {image.mode}: save it with 8 bits")
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
    return image.convert(mode)
