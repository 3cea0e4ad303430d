"""The report of a study."""

from __future__ import annotations

from typing import Any


def page(facts: dict[str, Any]) -> str:
    return ""
