"""How talking to a phone fails.

No message names the serial: messages end up in records, and a serial is personal data.
"""

from __future__ import annotations

from typing import Final

from harness.devices.base import DeviceLostError, LeaseLostError

_SHOWN_CHARACTERS: Final = 400


class TransportLostError(DeviceLostError):
    """The phone is gone: unplugged, offline, rebooting, or the adb server ended. Always `infra`."""


class PhoneTakenError(TransportLostError, LeaseLostError):
    """Another host has the phone now: to this one it is as good as gone."""


class CommandError(Exception):
    """A command on the phone ended with an exit code other than 0.

    Attributes:
        command: as the phone's shell got it.
        exit_code: of the shell.
        output: what it wrote to both streams.
    """

    def __init__(self, command: str, exit_code: int, output: str) -> None:
        self.command = command
        self.exit_code = exit_code
        self.output = output
        said = output.strip()[-_SHOWN_CHARACTERS:] or "nothing"
        super().__init__(f"{_short(command)!r} ended with exit code {exit_code}; it said: {said}")


class CommandTimeoutError(Exception):
    """A command did not end in time, on a phone that still answers."""

    def __init__(self, command: str, within: float) -> None:
        self.command = command
        self.within = within
        super().__init__(f"{_short(command)!r} did not end within {within:g} s; the phone answers")


def _short(command: str) -> str:
    long = len(command) > _SHOWN_CHARACTERS
    return command[:_SHOWN_CHARACTERS] + "..." if long else command
