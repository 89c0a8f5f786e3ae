"""What is kept of a trial: the device's class and speeds, the workload, and what came of it.

Made to be given away: nothing in it tells whose device it was. There is no field for a host, a
user, a path, a serial number, a user agent or a time of day, and what is free text elsewhere has to
look like what it should be, or is left out.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from results.errors import StoreError
from results.files import replaced
from results.observation import Quantity  # noqa: TC001 - pydantic reads annotations at run time
from results.record import Verdict  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from results.observation import Observation

Finite = Annotated[float, Field(allow_inf_nan=False)]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.+-]{0,39}")
_RUNTIME: Final = re.compile(r"[a-z0-9.-]{1,30}/[a-z0-9.-]{1,20}(:[a-z0-9_-]{1,20})?")
_QUANTISATION: Final = re.compile(r"[a-z0-9_]{1,16}")
_BROWSER: Final = re.compile(r"[A-Za-z][A-Za-z ]{0,30}( [0-9]{1,4})?")
_ADAPTER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,40}")
_KERNEL: Final = re.compile(r"[a-z][a-z0-9_:.]{0,39}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# The makers of processors; what stands before or behind them may be anything.
_PROCESSOR: Final = re.compile(
    r"(?:AMD|Apple|ARM|Cortex|Intel|Kirin|MediaTek|Qualcomm|Samsung|Exynos|Snapdragon|Tensor|Google"
    r"|Ampere|Neoverse|Dimensity)[A-Za-z0-9()., @+-]{0,50}"
)
# Longer runs of digits, or of hexadecimal ones, are numbers of single devices.
_SERIAL: Final = re.compile(r"\d{7,}|(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{10,}|[A-Z0-9]{10,}")


class Row(BaseModel):
    """One trial. `vector`: log2 of the rate of each kernel; `measured`: seconds, memory in bytes.

    `expected` is what the calibration at hand predicted, where there was one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    day: str
    device: str
    processor: str
    browser: str
    adapter: str
    cores: Finite | None
    memory_bytes: int | None
    vector: dict[str, Finite]
    recipe: str
    model: str
    quantisation: str
    threads: int
    prompt_tokens: int
    output_tokens: int
    file_bytes: int
    verdict: Verdict
    measured: dict[Quantity, Finite]
    expected: dict[Quantity, Finite] = {}


def rows(
    observations: Iterable[Observation],
    expected: Mapping[str, Mapping[Quantity, float]] | None = None,
) -> list[Row]:
    """A row for each trusted trial; what does not look like what it should be is left out.

    Args:
        observations: the trials.
        expected: for ids of trials: what was predicted.
    """
    known = expected or {}
    names: dict[str, str] = {}
    return [
        Row(
            day=_only(_DAY, o.day[:10]),
            device=_device(o.device, names),
            processor=_processor(o.processor),
            browser=_only(_BROWSER, o.browser),
            adapter=_only(_ADAPTER, o.adapter),
            cores=o.cores,
            memory_bytes=o.memory_limit_bytes,
            vector={
                name: round(rate, 3)
                for name, rate in sorted(o.vector.items())
                if _KERNEL.fullmatch(name) and math.isfinite(rate)
            },
            recipe=_only(_RUNTIME, o.recipe) or "other",
            model=_only(_NAME, o.model) or "other",
            quantisation=_only(_QUANTISATION, o.quantisation) or "other",
            threads=o.threads,
            prompt_tokens=o.prompt_tokens,
            output_tokens=o.output_tokens,
            file_bytes=o.file_bytes,
            verdict=o.verdict,
            measured=_figures(o.measured),
            expected=_figures(known.get(o.trial_id, {})),
        )
        for o in observations
        if o.trusted
    ]


def _only(pattern: re.Pattern[str], text: str) -> str:
    return text if pattern.fullmatch(text) and not _SERIAL.search(text) else ""


def _device(name: str, names: dict[str, str]) -> str:
    """The class of device; one that is named like a single device gets a number."""
    if name not in names:
        other = sum(given.startswith("other-") for given in names.values()) + 1
        names[name] = _only(_NAME, name) or f"other-{other}"
    return names[name]


def _processor(text: str) -> str:
    found = _PROCESSOR.search(text)
    return "" if found is None or _SERIAL.search(found[0]) else found[0].strip()


def _figures(values: Mapping[Quantity, float]) -> dict[Quantity, float]:
    return {quantity: value for quantity, value in values.items() if math.isfinite(value)}


def write_rows(path: Path, given: Iterable[Row]) -> int:
    """Write a row a line; how many.

    Raises:
        StoreError: the file cannot be written.
    """
    count = 0
    try:
        with replaced(path) as file:
            for row in given:
                file.write(row.model_dump_json().encode() + b"\n")
                count += 1
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
    return count


def read_rows(path: Path) -> list[Row]:
    """The rows of a file.

    Raises:
        StoreError: it cannot be read, or a line is no row of this version.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error
    return [_row(path, place, line) for place, line in enumerate(lines, 1) if line.strip()]


def _row(path: Path, place: int, line: str) -> Row:
    try:
        return Row.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the line"
        raise StoreError(
            f"{path}: line {place} is no row of features: {key}: {first['msg']}\n"
            "  -> write it again: tierlab features export"
        ) from error
