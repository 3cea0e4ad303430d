"""Encoded pictures to bytes of pixels, by Pillow or simplejpeg; bombs are refused undecoded.

A picture is turned upright by its EXIF mark, what is transparent is shown on white, an animation
is its first frame; then it is cut about its center to the wanted proportions and resized (bilinear,
antialiased: Pillow's `ImageOps.fit`). Samples of 16 bits in gray are refused; Pillow takes the
upper 8 bits of 16 in color. simplejpeg (libjpeg-turbo) reads JPEGs alone, at about twice the speed.
"""

from __future__ import annotations

import importlib.util
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import numpy as np

from zafu.data.files import refuse
from zafu.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
Decoder = Literal["pillow", "simplejpeg"]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # none that runs a program
MOST_PIXELS = 64 << 20  # 67 million in one picture: 200 MB as RGB
_ORIENTATION = 0x0112  # the EXIF tag that says how to turn a picture upright
_UNREADABLE = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, KeyError),
    *(struct.error, zlib.error, OverflowError),
)


class Form(NamedTuple):
    """What every picture is brought to, and by whom it is decoded."""

    channels: int  # 1 or 3
    height: int
    width: int
    decoder: Decoder = "pillow"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.height, self.width


class Seen(NamedTuple):
    """A picture as it is in its file, upright and in the wanted colors."""

    image: Image
    plain: bool  # simplejpeg reads it as it stands: a JPEG of one or three channels, not turned


def require(package: str = "PIL", extra: str = "image") -> None:
    """Raises MissingExtra where a package, by default Pillow, is not installed."""
    if importlib.util.find_spec(package) is None:
        raise MissingExtra("pillow" if package == "PIL" else package, extra)


def is_picture_name(name: str) -> bool:
    """Whether a file or a member of an archive is a picture by its name; hidden ones are none."""
    parts = Path(name).parts
    hidden = any(part.startswith(".") for part in parts[-2:])
    return Path(name).suffix.lower() in SUFFIXES and not hidden


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its name; hidden files and folders are none."""
    return is_picture_name(f"{path.parent.name}/{path.name}") and path.is_file()


@contextmanager
def told_plainly() -> Generator[None]:
    """Within it Pillow does not warn: what it cannot read is an error that names the picture."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def attempt(see: Callable[[], T]) -> T | str:
    """What a function makes of a picture, or why that cannot be read."""
    from PIL import Image

    try:
        return see()
    except (*_UNREADABLE, Image.DecompressionBombError) as error:
        return f"expected a picture: {error}"


def see(content: bytes, form: Form) -> Seen:
    """The picture in these bytes; whatever an unreadable one raises, `attempt` puts in words."""
    from PIL import Image

    with Image.open(BytesIO(content), formats=FORMATS) as image:  # reads the header only
        if image.width * image.height > MOST_PIXELS:
            found = f"{image.width} x {image.height}"
            raise ValueError(f"expected at most {MOST_PIXELS:,} pixels, found {found}")
        if form.decoder == "simplejpeg" and _may_be_plain(image):
            try:
                return Seen(_as_image(_jpeg(content), form), plain=True)
            except ValueError:  # simplejpeg is stricter; Pillow has the last word
                pass
        return Seen(_upright(image, form), plain=False)


def fitted(image: Image, form: Form) -> Image:
    """The picture cut about its center and resized to the height and width of `form`."""
    from PIL import Image, ImageOps

    size = (form.width, form.height)
    return image if image.size == size else ImageOps.fit(image, size, Image.Resampling.BILINEAR)


def pixels(image: Image) -> np.ndarray:
    """Its pixels, `(channels, height, width)` uint8, a view that may not be written."""
    shown = np.asarray(image)
    return shown[None] if shown.ndim == 2 else shown.transpose(2, 0, 1)


def again(content: bytes, form: Form, *, plain: bool) -> np.ndarray:
    """What `see`, `fitted` and `pixels` made of these bytes, sooner: all is known of them."""
    from PIL import Image

    if not plain:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            return pixels(fitted(_upright(image, form), form))
    shown = _jpeg(content)  # (height, width, 3)
    if shown.shape == (form.height, form.width, form.channels):
        return shown.transpose(2, 0, 1)
    return pixels(fitted(_as_image(shown, form), form))


def in_threads(do: Callable[[int], None], count: int) -> None:
    """Call `do` for 0 to `count` - 1 from as many threads as there are cores; raises what it does.

    Each thread takes the next number that is left, so that none waits for a slow picture.
    """
    threads = min(len(os.sched_getaffinity(0)), count)
    if threads <= 1:
        for index in range(count):
            do(index)
        return
    left = iter(range(count))

    def work(_: int) -> None:
        for index in left:  # one thread at a time advances it: it is a C iterator
            do(index)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def new_picture(form: Form, content: bytes) -> np.ndarray:
    """The picture in these bytes as `(channels, height, width)` uint8; raises DataError."""
    seen = attempt(lambda: pixels(fitted(see(content, form).image, form)))
    if isinstance(seen, str):
        raise DataError(seen.partition(" <_io")[0])  # Pillow names the object that it read
    return np.array(seen)


def new_pictures(form: Form, file: Path) -> tuple[np.ndarray, list[str]]:
    """A picture or all below a folder as `(n, channels, height, width)` uint8, and their names."""
    require()
    if form.decoder == "simplejpeg":
        require("simplejpeg", "jpeg")
    files = sorted(p for p in file.rglob("*") if is_picture(p)) if file.is_dir() else [file]
    if not files:
        raise DataError(f"{file}: expected pictures ({', '.join(SUFFIXES)}), found none")
    out = np.empty((len(files), *form.shape), np.uint8)
    refuse(_read_all(files, form, out))
    root = file if file.is_dir() else file.parent
    return out, [path.relative_to(root).as_posix() for path in files]


def _read_all(files: Sequence[Path], form: Form, out: np.ndarray) -> list[str]:
    """Fill `out` in place; a fault for each file that is no readable picture."""
    faults: dict[int, str] = {}

    def one(index: int) -> None:
        seen = attempt(lambda: see(files[index].read_bytes(), form))
        if isinstance(seen, str):
            faults[index] = f"{files[index]}: {seen}"
        else:
            out[index] = pixels(fitted(seen.image, form))

    with told_plainly():
        in_threads(one, len(files))
    return [fault for _, fault in sorted(faults.items())]


def _upright(image: Image, form: Form) -> Image:
    """The picture as it is meant to be seen, in gray or in color, on white."""
    from PIL import Image, ImageOps

    mode = "L" if form.channels == 1 else "RGB"
    if _is_turned(image):
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"expected 8 bits a channel, found mode {image.mode}: save it with 8 bits")
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
    image.load()  # the file is closed soon
    return image if image.mode == mode else image.convert(mode)


def _is_turned(image: Image) -> bool:
    return image.getexif().get(_ORIENTATION, 1) != 1


def _may_be_plain(image: Image) -> bool:
    return image.format == "JPEG" and image.mode in ("RGB", "L") and not _is_turned(image)


def _jpeg(content: bytes) -> np.ndarray:
    """A JPEG's pixels `(height, width, 3)` uint8; raises ValueError where it is not sound."""
    import simplejpeg

    return simplejpeg.decode_jpeg(content, "RGB")


def _as_image(shown: np.ndarray, form: Form) -> Image:
    from PIL import Image

    image = Image.fromarray(shown)
    return image.convert("L") if form.channels == 1 else image
