"""What is true of the program itself, wherever it runs."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def harness_version() -> str:
    """The version of tierlab; `unreleased` when it runs from a folder that was not installed."""
    try:
        return version("tierlab")
    except PackageNotFoundError:
        return "unreleased"
