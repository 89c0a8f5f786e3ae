"""Reading `parameters.toml`: numbers for the simulation, sources for the reader."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE: Final = Path(__file__).with_name("parameters.toml")

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]


class Parameter(BaseModel):
    """One figure and where it is from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    kind: Literal["measured", "published", "setting", "assumed"]
    source: str = Field(min_length=10)


class Parameters(BaseModel):
    """The figures alone. Seconds, bytes and shares of one; `parameters.toml` says what each is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial_fixed_seconds: Seconds
    job_start_seconds: Seconds
    android_extra_seconds: Seconds
    trial_spread: Annotated[float, Field(ge=0, lt=2)]
    cool_down_seconds: Seconds
    usb_bytes_per_s: Annotated[float, Field(gt=0)]
    usb_links: Annotated[int, Field(ge=1)]
    fault_rate: Share
    flaky_share: Share
    flaky_fault_rate: Share
    dead_share: Share
    stuck_share: Share
    ladder_cure_rate: Share
    ladder_seconds: Seconds
    check_seconds: Seconds
    fail_fast_seconds: Seconds
    lost_after_seconds: Seconds
    requeue_seconds: Seconds
    worker_restart_seconds: Seconds
    host_outage_seconds: Seconds
    controller_outage_seconds: Seconds
    dispatch_seconds: Seconds


def load_entries(path: Path = FILE) -> dict[str, Parameter]:
    """Every parameter with its source.

    Raises:
        pydantic.ValidationError: an entry has no value, kind or source.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: Parameter.model_validate(entry) for name, entry in table.items()}


def load_parameters(changed: Mapping[str, float] | None = None, path: Path = FILE) -> Parameters:
    """The figures, with some of them changed.

    Raises:
        pydantic.ValidationError: one is missing, unknown or out of its range.
    """
    values = {name: entry.value for name, entry in load_entries(path).items()}
    return Parameters.model_validate(values | dict(changed or {}))
