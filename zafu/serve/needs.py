"""What a server needs beside the core."""

from __future__ import annotations

from zafu import extras

PACKAGES = ("fastapi", "uvicorn", "httptools", "uvloop")


def require() -> None:
    """Raises MissingExtra where one of the packages is not installed."""
    extras.require((package, "serve") for package in PACKAGES)
