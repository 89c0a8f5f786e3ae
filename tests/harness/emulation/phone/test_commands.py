from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from rich.console import Console

from harness.emulation.phone.commands import _obey, add_commands
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.emulation.phone.start import VirtualPhone


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    options = parser.parse_args(["phone", "start", *words])
    code: int = options.func(options)
    return code


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["desktop"], "desktop is a profile of kind 'desktop'\n  -> choose one of kind 'android'"),
        (["pixel77"], "unknown device 'pixel77'\n  -> did you mean"),
        (["pixel7", "--memory", "much"], "much"),
    ],
)
def test_what_cannot_be_started_is_said_before_anything_starts(
    words: list[str], problem: str
) -> None:
    with pytest.raises(UserError) as raised:
        run(*words)
    assert problem in str(raised.value)


class Killed:
    """A phone that ends at once."""

    async def ended(self) -> int:
        return -9


def test_it_ends_with_its_phone_where_nobody_types(monkeypatch: pytest.MonkeyPatch) -> None:
    phone = cast("VirtualPhone", Killed())

    async def main() -> None:
        async with asyncio.timeout(10):
            await _obey(phone, Console())

    with Path("/dev/null").open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        with pytest.raises(UserError, match="ended by itself"):
            asyncio.run(main())
