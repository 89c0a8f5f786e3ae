"""Where locks and notes about running things live: small, on local disk, private to the user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from platformdirs import user_state_path

STATE_OVERRIDE: Final = "TIERLAB_STATE"


def state_directory() -> Path:
    """The directory for leases and for the ownership of groups; made when missing."""
    override = os.environ.get(STATE_OVERRIDE)
    path = Path(override) if override else user_state_path("tierlab")
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path
