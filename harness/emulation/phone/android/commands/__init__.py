"""The commands of the virtual phone, one module a family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.emulation.phone.android.commands import (
    am,
    bugreport,
    cmd,
    dumpsys,
    log,
    pm,
    processes,
    properties,
    screen,
    settings,
    small,
)

if TYPE_CHECKING:
    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command

FAMILIES = (properties, log, settings, screen, processes, small, am, pm, dumpsys, bugreport)


def all_commands(phone: Phone) -> dict[str, Command]:
    """Every command by name."""
    found: dict[str, Command] = {}
    for family in FAMILIES:
        found.update(family.commands(phone))
    found.update(cmd.commands(phone, found))
    return found
