"""Printing for people: plain text, of which nothing is taken for markup."""

from __future__ import annotations

from rich.console import Console

from results.table import plain


def say(text: str) -> None:
    """Print lines that hosts and devices may have had a word in."""
    lines = "\n".join(plain(line) for line in text.splitlines())
    Console().print(lines, markup=False, highlight=False, soft_wrap=True)
