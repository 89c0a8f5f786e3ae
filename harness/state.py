"""Where locks and notes about running things live: small, on local disk, private to the user."""

from __future__ import annotations

import os
import secrets
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


def host_id() -> str:
    """A name of this state directory that no other has: where its locks hold, and no further.

    Raises:
        UserError: it cannot be written.
    """
    path = state_directory() / "host-id"
    try:
        if not path.exists():
            made = path.with_name(f".host-id.{secrets.token_hex(4)}")
            made.write_text(f"{secrets.token_hex(8)}\n", encoding="ascii")
            try:
                path.hardlink_to(made)  # fails where another process was first
            except FileExistsError:
                pass
            finally:
                made.unlink()
        return path.read_text(encoding="ascii", errors="replace").strip()[:100]
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}",
            f"free the disk, or set {STATE_OVERRIDE} to a directory of your own",
        ) from error
