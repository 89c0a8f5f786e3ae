"""The folder of a Buildbot master: written from a fleet, and started. Imports no Buildbot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from harness.errors import UserError
from results.files import replaced

if TYPE_CHECKING:
    from harness.fleet.config import Fleet

_MASTER_CFG: Final = """\
from harness.fleet.buildbot.master import configuration
BuildmasterConfig = configuration(basedir)
"""

# Buildbot looks for the line of `application` to see that this is a master's folder.
_TAC: Final = """\
import os
from buildbot.master import BuildMaster
from twisted.application import service

application = service.Application('buildmaster')
BuildMaster(os.path.dirname(os.path.abspath(__file__)), 'master.cfg').setServiceParent(application)
"""

SPOOL: Final = "spool"
"""Where bundles of hosts arrive, in the folder of the master."""

BROKEN: Final = ".broken"
"""How the name of a bundle ends that cannot be read, and is kept to be looked at."""

_UPGRADE_SECONDS: Final = 600


def write_master(fleet: Fleet, folder: Path) -> None:
    """Write what a master needs, each file whole; a master that runs takes it up when told to.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in (
            ("fleet.json", fleet.model_dump_json(indent=2)),
            ("master.cfg", _MASTER_CFG),
            ("buildbot.tac", _TAC),
        ):
            with replaced(folder / name) as file:
                file.write(text.encode())
    except OSError as error:
        raise UserError(
            f"{folder}: the master's files cannot be written: {error.strerror}",
            "choose another --to",
        ) from error


def empty_spool(folder: Path) -> int:
    """Remove what arrived at a master that was killed; how many files.

    None of it was confirmed: each host still has what is in its bundle, and sends it again.

    Raises:
        UserError: a file cannot be removed.
    """
    left = [path for path in (folder / SPOOL).glob("*") if path.suffix != BROKEN]
    try:
        for path in left:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{error.filename}: cannot be removed: {error.strerror}", "see who owns it"
        ) from error
    return len(left)


def start_master(folder: Path) -> NoReturn:
    """Bring the master's database up to date, and become the master.

    Raises:
        UserError: Buildbot is not installed, or its database cannot be used.
    """
    buildbot = Path(sys.executable).with_name("buildbot")
    if not buildbot.exists():
        raise UserError(
            f"Buildbot is not installed ({buildbot} is missing)",
            "pip install 'tierlab[controller]'",
        )
    empty_spool(folder)
    upgraded = subprocess.run(
        [str(buildbot), "upgrade-master", "--quiet", str(folder)],
        check=False,
        timeout=_UPGRADE_SECONDS,
    )
    if upgraded.returncode != 0:
        raise UserError(
            f"{folder}: the master cannot be brought up to date", "see above for the reason"
        )
    sys.stdout.flush()
    words = [str(buildbot), "start", "--nodaemon", str(folder)]
    os.execv(words[0], words)  # noqa: S606 - signals reach the master itself
