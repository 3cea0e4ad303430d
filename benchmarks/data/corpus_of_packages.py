"""At least 100 MB of real text out of packages, with planted duplicates, as one jsonl file.

Documentation of the Linux kernel and of Python, a book in HTML (by apt, where that is there), and
Python sources. Every tenth document is planted again as it is; every twentieth with one word in
sixty put in another's place, as a near duplicate.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGES = ("linux-doc-6.1", "python3.11-doc", "anarchism")
ENDINGS = (".txt", ".rst", ".html", ".py", ".md")
WANTED = 100_000_000  # bytes, before anything is planted
LONGEST = 1_000_000


def write(path: Path) -> dict[str, int]:
    """Write `id` and `text` of each document; how much there is of what."""
    rng = random.Random(0)  # noqa: S311
    documents: list[tuple[str, str]] = []
    size = 0
    for name, text in sources():
        if size < WANTED and 200 < len(text) < LONGEST:
            documents.append((name, text))
            size += len(text.encode())
    planted = [(f"{n}|exact", t) for n, t in documents[::10]]
    planted += [(f"{n}|near", _changed(t, rng)) for n, t in documents[5::20] if t.count(" ") > 600]
    together = documents + planted
    rng.shuffle(together)
    with path.open("w", encoding="utf-8") as file:
        for name, text in together:
            file.write(json.dumps({"id": name, "text": text}, ensure_ascii=False) + "\n")
    exact = sum(n.endswith("|exact") for n, _ in planted)
    return {
        "documents": len(together),
        "bytes": sum(len(t.encode()) for _, t in together),
        "exact": exact,
        "near": len(planted) - exact,
    }


def sources() -> Iterator[tuple[str, str]]:
    """Name and text of each document, the prose first."""
    with TemporaryDirectory() as folder:
        subprocess.run(
            ["apt-get", "download", "--quiet", *PACKAGES],
            cwd=folder,
            capture_output=True,
            check=False,
        )
        for package in sorted(Path(folder).glob("*.deb")):
            yield from _of_deb(package)
    for root in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")):
        for path in sorted(Path(root).rglob("*.py")):
            yield str(path), path.read_text(encoding="utf-8", errors="replace")


def _of_deb(package: Path) -> Iterator[tuple[str, str]]:
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
    ) as shown:
        content = shown.communicate()[0]
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            name = member.name.removesuffix(".gz")
            file = archive.extractfile(member) if member.isfile() else None
            if file and name.endswith(ENDINGS) and "/translations/" not in name:
                raw = file.read()
                raw = gzip.decompress(raw) if member.name.endswith(".gz") else raw
                yield name, raw.decode("utf-8", errors="replace")


def _changed(text: str, rng: random.Random) -> str:
    """The text with one word in sixty moved."""
    words = text.split(" ")
    for _ in range(len(words) // 60):
        a, b = rng.randrange(len(words)), rng.randrange(len(words))
        words[a] = words[b]
    return " ".join(words)
