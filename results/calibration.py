"""The calibration: what engines cost on top of what a probe measures, fitted from records.

One small versioned file, `calibration.json` beside the probe, written here and read by the probe's
page and by the harness. For each engine recipe and quantity: a non-negative factor for each term,
and the band of measured / predicted that holds 9 times in 10 for a device that was not in the fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from results.errors import StoreError
from results.observation import Quantity  # noqa: TC001 - pydantic reads annotations at run time

if TYPE_CHECKING:
    from pathlib import Path

CALIBRATION_VERSION: Final = 1

Factor = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fit(_Part):
    """The factors of one quantity on one engine.

    `low` and `high` bound measured / predicted in 9 of 10 cases; `median_error` and `p90_error` are
    |predicted / measured - 1| with the device class left out of the fit; `n` trials and `devices`
    classes stand behind it. Of memory only: `margin`, by which loads that died are told best from
    those that ran: refuse where `expected * margin` exceeds the limit.
    """

    factors: dict[str, Factor]
    low: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    high: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    n: Annotated[int, Field(ge=1)]
    devices: Annotated[int, Field(ge=1)]
    median_error: Factor
    p90_error: Factor
    margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Fit:
        if not self.low <= self.high:
            raise ValueError("low <= high does not hold")
        return self


class Training(_Part):
    """Which records it was fitted from: the digest is of their sorted ids."""

    trials: int
    sha256: str
    devices: tuple[str, ...]
    models: tuple[str, ...]
    processors: tuple[str, ...]
    newest: str


class Calibration(_Part):
    """All fits, by recipe and quantity."""

    version: Literal[1] = CALIBRATION_VERSION
    probe_version: int
    training: Training
    engines: dict[str, dict[Quantity, Fit]]

    def fit(self, recipe: str, quantity: Quantity) -> Fit | None:
        """The fit of a quantity on an engine, `None` where there were too few records."""
        return self.engines.get(recipe, {}).get(quantity)


def read_calibration(path: Path) -> Calibration:
    """The calibration in a file.

    Raises:
        StoreError: there is none, or it is none of this version.
    """
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StoreError(
            f"no calibration at {path} ({error.strerror}); fit one: tierlab calibrate"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the text"
        raise StoreError(
            f"{path} is no calibration of version {CALIBRATION_VERSION}: {place}: {first['msg']};"
            " fit it again: tierlab calibrate"
        ) from error
