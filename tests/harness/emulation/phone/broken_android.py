"""An Android that does not start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.emulation.phone.command import Android, Place
    from harness.profiles import Profile


def host_paths(profile: Profile) -> Sequence[Path]:
    del profile
    return ()


def create(place: Place) -> Android:
    raise UserError(f"{place.profile.id} is broken on purpose", "mend it")
