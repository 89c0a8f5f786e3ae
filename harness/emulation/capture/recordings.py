"""What is recorded of a phone: the commands that the harness uses, and which lines of them.

A dump of a whole system service tells of installed apps, of windows and of who is logged in. Of the
long ones only the lines that the harness reads are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.devices.android.facts.cpu import FREQUENCIES_COMMAND
from harness.emulation.capture.dumps import without_placeholders

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST: Final = 256 << 10


@dataclass(frozen=True, slots=True)
class Value:
    """A value that the state of a virtual phone decides.

    Attributes:
        form: with one group, which the placeholder takes the place of; `^` and `$` are of a line.
        placeholder: its name.
        every: wherever it stands; otherwise where it stands first.
    """

    form: str
    placeholder: str
    every: bool = False

    def opened(self, text: str) -> str:
        """`text` with the placeholder in it."""

        def put(found: re.Match[str]) -> str:
            start, end = found.start(1) - found.start(), found.end(1) - found.start()
            return f"{found[0][:start]}{{{{{self.placeholder}}}}}{found[0][end:]}"

        return re.sub(self.form, put, text, count=0 if self.every else 1, flags=re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Recording:
    """A command to be recorded.

    Attributes:
        command: the line for the phone's shell.
        replay: a virtual phone gives the answer again; otherwise it is a sample of the format.
        keep: of which lines; None: of all.
        values: what of it is left open.
    """

    command: str
    replay: bool = True
    keep: re.Pattern[str] | None = None
    values: tuple[Value, ...] = ()

    def answer(self, text: str, redact: Callable[[str], str]) -> str:
        """What of the phone's words is written: shortened, without what is personal."""
        lines = text.replace("\r\n", "\n").replace("\r", "\n")[:_LONGEST].splitlines(keepends=True)
        if self.keep:
            lines = [line for line in lines if self.keep.search(line)]
        text = without_placeholders(redact("".join(lines).replace("\x00", "")))
        for value in self.values:
            text = value.opened(text)
        return text


def recordings(package: str) -> tuple[Recording, ...]:
    """Everything that is recorded; `package` is the browser's.

    Formats: AOSP frameworks/base BatteryService.dumpInternal, ThermalManagerService.dump,
    PowerManagerService.dump, WindowManagerShellCommand; toybox df.
    """
    return (
        Recording(
            "dumpsys battery",
            # Manufacturers repeat Android's own keys further below.
            values=(
                Value(r"^  level: (\d+)$", "battery.level"),
                Value(r"^  temperature: (-?\d+)$", "battery.temperature"),
                Value(r"^  status: (\d+)$", "battery.status"),
                Value(r"^  AC powered: (true|false)$", "battery.ac"),
                Value(r"^  USB powered: (true|false)$", "battery.usb"),
                Value(r"^  Wireless powered: (true|false)$", "battery.wireless"),
            ),
        ),
        Recording(
            "dumpsys thermalservice",
            values=(
                Value(r"^Thermal Status: (\d+)$", "thermal.status"),
                Value(r"\{mValue=(-?[\d.]+), mType=3,", "thermal.skin", every=True),
                Value(
                    r"\{mValue=\S+, mType=3, mName=[^,}\n]*, mStatus=(\d+)\}",
                    "thermal.status",
                    every=True,
                ),
            ),
        ),
        Recording("dumpsys SurfaceFlinger", keep=re.compile(r"^\s*GLES: ")),
        Recording("pm list features"),
        Recording("wm size"),
        Recording("wm density"),
        Recording(
            "dumpsys power",
            replay=False,
            keep=re.compile(
                r"^POWER MANAGER|^\s*m(?:Wakefulness|StayOn|IsPowered|BatteryLevel)\w*="
            ),
        ),
        Recording(
            "dumpsys window policy",
            replay=False,
            keep=re.compile(r"KeyguardServiceDelegate|\bshowing=|mShowingLockscreen="),
        ),
        Recording(
            f"dumpsys package {package}",
            replay=False,
            keep=re.compile(r"^\s*(?:Package \[|version(?:Name|Code)=|Hidden system)"),
        ),
        Recording(
            "dumpsys webviewupdate", replay=False, keep=re.compile(r"Current WebView package")
        ),
        Recording(f"dumpsys meminfo {package}", replay=False),
        Recording(f"dumpsys activity exit-info {package}", replay=False),
        Recording("cat /proc/meminfo", replay=False),
        Recording("cat /proc/cpuinfo", replay=False),
        Recording(FREQUENCIES_COMMAND, replay=False),
        Recording("df -k /data", replay=False),
    )
