"""Packages that would change ours stand in a folder of their own, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from zafu import apart
from zafu.errors import ZafuError

NOTHING = apart.Apart("nothing", (), 1000)  # pip has nothing to fetch: it fails, and says why
PROGRAM = """\
import sys, ours, torch
from pathlib import Path
Path(sys.argv[1]).write_text(f"{ours.VERSION} {torch.__version__}")
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "zafu" / "environments"


def test_a_program_sees_its_own_packages_and_our_torch(tmp_path: Path) -> None:
    import torch

    folder = apart.place(NOTHING)
    folder.mkdir(parents=True)
    (folder / "ours.py").write_text("VERSION = 3")
    (tmp_path / "torch.py").write_text("raise ImportError")  # what lies beside is no package
    (tmp_path / "program.py").write_text(PROGRAM)

    apart.carried_out(NOTHING, tmp_path / "program.py", str(tmp_path / "said"), say=print)

    assert (tmp_path / "said").read_text() == f"3 {torch.__version__}"


def test_what_could_not_be_fetched_leaves_nothing(cache: Path) -> None:
    heard: list[str] = []

    with pytest.raises(ZafuError, match=r"nothing: pip: ended with \d"):
        apart.ready(NOTHING, heard.append)

    assert [path.name for path in cache.iterdir() if not path.name.endswith(".lock")] == []
    assert len(heard) == 1
    assert "fetched, once: 1" in heard[0]


def test_what_a_program_said_last_is_in_the_error(tmp_path: Path) -> None:
    apart.place(NOTHING).mkdir(parents=True)
    (tmp_path / "program.py").write_text("raise ValueError('layer 7 has no form')")

    with pytest.raises(ZafuError, match="layer 7 has no form"):
        apart.carried_out(NOTHING, tmp_path / "program.py", say=print)


def test_other_versions_are_another_folder() -> None:
    one, other = (apart.Apart("a", (f"a=={n}",), 1) for n in (1, 2))

    assert apart.place(one) != apart.place(other)
