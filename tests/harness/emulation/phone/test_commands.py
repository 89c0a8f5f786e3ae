from __future__ import annotations

import argparse

import pytest

from harness.emulation.phone.commands import add_commands
from harness.errors import UserError


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
