"""The processor's cores.

Formats: Linux arch/arm64/kernel/cpuinfo.c (`/proc/cpuinfo`), Documentation/admin-guide/pm/cpufreq;
implementers and parts from arch/arm64/include/asm/cputype.h.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from harness.devices.android.facts.text import whole

_MOST_CORES: Final = 1024
# For a shell on the phone: `cpu0 MAXIMUM ALLOWED` a line, in kHz, with a dash for what is not told.
# A core that is off tells nothing.
FREQUENCIES_COMMAND: Final = (
    "for c in /sys/devices/system/cpu/cpu[0-9]*; do "
    'm=$(cat "$c/cpufreq/cpuinfo_max_freq" 2>/dev/null); '
    'a=$(cat "$c/cpufreq/scaling_max_freq" 2>/dev/null); '
    'echo "${c##*/} ${m:--} ${a:--}"; done'
)
_FREQUENCY: Final = re.compile(r"^cpu(?P<core>\d{1,4}) (?P<most>\d{1,9}|-) (?P<now>\d{1,9}|-)\s*$")
_ROW: Final = re.compile(r"^(?P<key>[^:\n]{1,40}?)\s*:\s*(?P<value>[^\n]{0,400})$")
_NAMES: Final = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0d"): "Cortex-A77",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd44"): "Cortex-X1",
    ("0x41", "0xd46"): "Cortex-A510",
    ("0x41", "0xd47"): "Cortex-A710",
    ("0x41", "0xd48"): "Cortex-X2",
    ("0x41", "0xd4c"): "Cortex-X1C",
    ("0x41", "0xd4d"): "Cortex-A715",
    ("0x41", "0xd4e"): "Cortex-X3",
    ("0x41", "0xd80"): "Cortex-A520",
    ("0x41", "0xd81"): "Cortex-A720",
    ("0x41", "0xd82"): "Cortex-X4",
    ("0x41", "0xd85"): "Cortex-X925",
    ("0x41", "0xd87"): "Cortex-A725",
    ("0x51", "0x800"): "Kryo 2xx Gold",
    ("0x51", "0x801"): "Kryo 2xx Silver",
    ("0x51", "0x802"): "Kryo 3xx Gold",
    ("0x51", "0x803"): "Kryo 3xx Silver",
    ("0x51", "0x804"): "Kryo 4xx Gold",
    ("0x51", "0x805"): "Kryo 4xx Silver",
}


@dataclass(frozen=True, slots=True)
class Core:
    """One core: its design, and the frequencies in kHz that it can run at and may run at now."""

    number: int
    name: str | None
    most_khz: int | None
    allowed_khz: int | None


@dataclass(frozen=True, slots=True)
class Cpu:
    """The cores that are on, and what all of them can do (`asimddp`, `i8mm`, ...)."""

    cores: tuple[Core, ...]
    features: frozenset[str]

    def summary(self) -> str:
        """`2x Cortex-X1 2.85 GHz + 4x Cortex-A55 1.80 GHz`, the fastest first."""
        kinds = Counter((core.most_khz or 0, core.name or "core") for core in self.cores)
        return " + ".join(
            f"{count}x {name}" + (f" {khz / 1e6:.2f} GHz" if khz else "")
            for (khz, name), count in sorted(kinds.items(), reverse=True)
        )


def parse_cpu(cpuinfo: str, frequencies: str = "") -> Cpu | None:
    """`/proc/cpuinfo` and the output of `FREQUENCIES_COMMAND`; None where neither names a core."""
    names, features = _designs(cpuinfo)
    speeds = _speeds(frequencies)
    numbers = sorted({*names, *speeds})[:_MOST_CORES]
    if not numbers:
        return None
    cores = [Core(n, names.get(n), *speeds.get(n, (None, None))) for n in numbers]
    return Cpu(tuple(cores), features)


def _designs(cpuinfo: str) -> tuple[dict[int, str | None], frozenset[str]]:
    names: dict[int, str | None] = {}
    shared: set[str] | None = None
    number: int | None = None
    implementer = ""
    for line in cpuinfo.splitlines():
        row = _ROW.match(line)
        if row is None:
            continue
        key, value = row["key"], row["value"].strip()
        if key == "processor":
            number = whole(value, most=_MOST_CORES)
            if number is not None:
                names.setdefault(number, None)
        elif key in {"Features", "flags"}:
            words = set(value.split())
            shared = words if shared is None else shared & words
        elif key == "CPU implementer":
            implementer = value.lower()
        elif key == "CPU part" and number is not None:
            names[number] = _NAMES.get((implementer, value.lower()))
    return names, frozenset(shared or ())


def _speeds(text: str) -> dict[int, tuple[int | None, int | None]]:
    found = (_FREQUENCY.match(line) for line in text.splitlines())
    return {
        int(row["core"]): (whole(row["most"]), whole(row["now"]))
        for row in found
        if row and int(row["core"]) <= _MOST_CORES
    }
