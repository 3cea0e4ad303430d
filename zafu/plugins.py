"""Plugins: Python files that a recipe names; nothing else in a recipe is ever run."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from zafu.artifact import digest_file


def load(paths: Iterable[Path]) -> list[str]:
    """Import these files, each once, under names that follow from their content; the names."""
    names: list[str] = []
    for path in paths:
        name = f"zafu_plugin_{path.stem}_{digest_file(path)[:12]}"
        spec = importlib.util.spec_from_file_location(name, path)
        if name not in sys.modules and spec and spec.loader:
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
        names.append(name)
    return names
