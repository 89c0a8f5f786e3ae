"""The calibration that is shipped beside the probe, if there is one."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import UserError
from results.calibration import read_calibration
from results.errors import StoreError

if TYPE_CHECKING:
    from results.calibration import Calibration

CALIBRATION_PATH: Final = Path(__file__).parent / "calibration.json"


@cache
def shipped() -> Calibration | None:
    """The fitted factors that predictions of this installation use; `None` without any.

    Raises:
        UserError: the file is there, and is no calibration of this version.
    """
    if not CALIBRATION_PATH.is_file():
        return None
    try:
        return read_calibration(CALIBRATION_PATH)
    except StoreError as error:
        raise UserError(str(error), "fit it again, or remove the file") from error
