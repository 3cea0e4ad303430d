"""What a server needs beside the core."""

from __future__ import annotations

from importlib.util import find_spec

from zafu.errors import MissingExtra

PACKAGES = ("fastapi", "uvicorn", "httptools", "uvloop")


def require() -> None:
    """Raises MissingExtra where one of the packages is not installed."""
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingExtra(package, "serve")
