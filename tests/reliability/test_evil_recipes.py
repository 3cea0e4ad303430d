"""S4: hostile recipes are refused in half a second each, and nothing that they name is loaded."""

from __future__ import annotations

import itertools
import os
import sys
import time
from pathlib import Path

import pytest

from zafu.cli import main
from zafu.errors import RecipeError
from zafu.recipe import Recipe

SOUND = """\
task: classification
data: digits
model: mlp
fit: {steps: 3}
"""
BUNCHES = itertools.pairwise("abcdefgh")
LAUGHS = "a: &a [ha, ha]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in BUNCHES
)
EVIL = {
    "a tag that builds an object": SOUND + "seed: !!python/object/apply:os.system ['touch MARK']\n",
    "a tag that names a module": SOUND + "seed: !!python/module:zafu_evil_module\n",
    "a tag that names a function": SOUND + "seed: !!python/name:os.system\n",
    "a tag of its own": SOUND + "seed: !evil {command: 'touch MARK'}\n",
    "a standard tag": SOUND + "seed: !!binary aGVsbG8=\n",
    "a set": SOUND + "seed: !!set {a, b}\n",
    "a tag on a key": SOUND + "!!python/name:os.system x: 1\n",
    "a hydra target": SOUND.replace("mlp", "{kind: mlp, _target_: os.system}"),
    "a hydra target as a kind": SOUND.replace("mlp", "{kind: os.system}"),
    "a dotted path as a kind": SOUND.replace("digits", "{kind: zafu_evil_module.Data}"),
    "a class path of Lightning": SOUND.replace("mlp", "{class_path: zafu_evil_module.Model}"),
    "an optimizer by its import path": SOUND + "  optimizer: zafu_evil_module\n",
    "a plugin that is not there": SOUND + "plugins: [../../zafu_evil_module.py]\n",
    "a plugin by its module name": SOUND + "plugins: [zafu_evil_module]\n",
    "a plugin that is a library": SOUND + "plugins: [evil.so]\n",
    "a plugin that is a folder": SOUND + "plugins: [.]\n",
    "a plugin with a null byte": SOUND + 'plugins: ["evil\\0.py"]\n',
    "a plugin with an endless name": SOUND + f"plugins: [{'x' * 5000}.py]\n",
    "plugins that are no list": SOUND + "plugins: {a: zafu_evil_module.py}\n",
    "plugins that are no names": SOUND + "plugins: [[zafu_evil_module.py], 3, {a: b}]\n",
    "a file name with a null byte": SOUND.replace(
        "digits", '{kind: table, target: y, files: ["a\\0.csv"]}'
    ),
    "an endless file name": SOUND.replace(
        "digits", f"{{kind: table, target: y, files: [{'x' * 5000}.csv]}}"
    ),
    "a billion laughs": LAUGHS,
    "a billion laughs as a key": LAUGHS + "? [*h, *h]\n: 1\n",
    "a billion laughs as a plugin": LAUGHS + SOUND + "plugins: *h\n",
    "a list that holds itself": "a: &a [*a]\n",
    "a mapping that holds itself": "&a\nb: *a\n",
    "a hundred thousand brackets": "[" * 100_000,
    "a hundred thousand braces": "{a: " * 100_000,
    "deep blocks": "\n".join(" " * i + "a:" for i in range(400)),
    "a key of 10 MB": "k" * 10 * 2**20 + ": 1\n",
    "a key of 200 kB": f'? "{"k" * 200_000}"\n: 1\n',
    "fifty thousand keys": "".join(f"k{i}: 1\n" for i in range(50_000)),
    "four thousand unknown keys": SOUND + "".join(f"k{i}: 1\n" for i in range(3900)),
    "as many unknown keys as are read": SOUND + "".join(f"k{i}: 1\n" for i in range(490)),
    "as many wrong values as are read": SOUND + "plugins: [" + "1, " * 3900 + "]\n",
    "a key twice": SOUND + "seed: 1\nseed: 2\n",
    "a key twice inside": SOUND.replace("steps: 3", "steps: 3, steps: 4"),
    "a merge key": "base: &b {kind: mlp}\n" + SOUND.replace("mlp", "{<<: *b}"),
    "a number of 5000 digits": SOUND + f"seed: {'9' * 5000}\n",
    "a number of 900 digits": SOUND + f"seed: {'9' * 900}\n",
    "a kind of 100,000 letters": SOUND.replace("mlp", "m" * 100_000),
    "infinity": SOUND + "  optimizer: {lr: .inf}\n",
    "not a number": SOUND + "  optimizer: {lr: .nan}\n",
    "a list for a mapping": "- 1\n- 2\n",
    "two documents": SOUND + "---\n" + SOUND,
    "an unknown alias": "a: *nobody\n",
    "a control character": "a: \x07\n",
    "nothing": "",
    "a NUL": "\0",
    "a tab for a blank": "a:\n\t- 1\n",
}


@pytest.fixture(autouse=True)
def evil_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that could be imported, and marks it when it is."""
    mark = tmp_path / "MARK"
    code = f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "zafu_evil_module.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.chdir(tmp_path)
    return mark


def test_the_sound_recipe_is_sound(tmp_path: Path) -> None:
    (tmp_path / "sound.yaml").write_text(SOUND)

    recipe = Recipe.load(tmp_path / "sound.yaml")

    assert recipe.fit.steps == 3


@pytest.mark.parametrize("name", EVIL)
def test_it_is_refused_at_once_and_nothing_is_imported(
    name: str, evil_module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "evil.yaml"
    file.write_text(EVIL[name])
    Recipe.load(_sound(tmp_path))  # so that what a first use loads is not counted
    modules = set(sys.modules)
    begun = time.process_time()

    with pytest.raises(RecipeError):
        Recipe.load(file)

    assert time.process_time() - begun < 0.5
    assert not evil_module.exists()
    assert set(sys.modules) == modules
    assert main(["check", str(file)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evil.yaml").write_bytes(b"\xff\xfe\x00\x01" * 100)
    (tmp_path / "folder.yaml").mkdir()

    for name in ("evil.yaml", "folder.yaml", "absent.yaml", "x" * 300):
        with pytest.raises(RecipeError):
            Recipe.load(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "evil.yaml")

    with pytest.raises(RecipeError):
        Recipe.load(tmp_path / "evil.yaml")


def _sound(folder: Path) -> Path:
    file = folder / "sound.yaml"
    file.write_text(SOUND)
    return file
