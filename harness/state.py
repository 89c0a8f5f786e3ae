"""Where locks and notes about running things live: small, on local disk, private to the user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from platformdirs import user_state_path

from harness.errors import UserError

STATE_OVERRIDE: Final = "TIERLAB_STATE"


def state_directory() -> Path:
    """The directory for leases and for the ownership of groups; made when missing.

    Raises:
        UserError: it cannot be made.
    """
    override = os.environ.get(STATE_OVERRIDE)
    path = Path(override) if override else user_state_path("tierlab")
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UserError(
            f"the state directory {path} cannot be made: {error.strerror}",
            f"set {STATE_OVERRIDE} to a directory of your own",
        ) from error
    return path
