#!/usr/bin/env python3
"""Copies of a lab's results and of Buildbot's database, each one archive, and their restoring.

Databases are copied by SQLite's own means while they are in use, everything else as it is. The
copy of the store is made before the evidence is read: a record's evidence is on the disk before the
record is, so that each record of an archive has its evidence there.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sqlite3
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path

STORE = "store.sqlite3"
MASTER = "state.sqlite"
EXAMPLES = """examples:
  backup make /var/backups/tierlab --results /var/lib/tierlab/results \\
      --master /var/lib/tierlab/master --keep 14
  backup restore /var/backups/tierlab/tierlab-20261126T123000Z.tar.gz \\
      --results /var/lib/tierlab/results --master /var/lib/tierlab/master"""


class BackupError(Exception):
    """What went wrong, and what to do about it."""


def copy_database(source: Path, target: Path) -> None:
    """A whole and sound copy of a database that may be in use.

    Raises:
        BackupError: the copy is damaged, so the database is.
    """
    address = f"{source.absolute().as_uri()}?mode=ro"
    with (
        contextlib.closing(sqlite3.connect(address, uri=True)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)
        (found,) = new.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise BackupError(f"{source}: the database is damaged: {found}\n  -> restore an older copy")


def make(folder: Path, results: Path, master: Path, keep: int) -> Path:
    """Write a new archive, then remove the oldest ones but `keep`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = folder / f"tierlab-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as name:
        making = Path(name)
        with tarfile.open(making / "archive", "w:gz", compresslevel=1) as archive:
            for database, place in (
                (results / STORE, "results"),
                (master / MASTER, "master"),
            ):
                if database.exists():
                    copy = making / database.name
                    copy_database(database, copy)
                    archive.add(copy, f"{place}/{database.name}")
            for path in sorted(results.iterdir()):
                if not path.name.startswith(STORE):
                    archive.add(path, f"results/{path.name}")
        (making / "archive").chmod(0o600)
        (making / "archive").rename(target)
    for old in sorted(folder.glob("tierlab-*.tar.gz"))[:-keep]:
        old.unlink()
    return target


def restore(archive: Path, results: Path, master: Path) -> None:
    """Lay an archive into folders that hold nothing of the kind yet.

    Raises:
        BackupError: something is there already, or the archive is not one of these.
    """
    places = {"results": results, "master": master}
    for taken in (results / STORE, master / MASTER):
        if taken.exists():
            raise BackupError(f"{taken} is there already\n  -> stop tierlab and move it away first")
    with tarfile.open(archive) as opened:
        for member in opened:
            place, _, rest = member.name.partition("/")
            inside = place in places and rest and ".." not in Path(rest).parts
            if not inside or not (member.isdir() or member.isreg()):
                raise BackupError(f"{archive}: {member.name} is of no backup\n  -> choose another")
            target = places[place] / rest
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True, mode=member.mode)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            content = opened.extractfile(member)
            assert content is not None  # of a regular file there is one
            with content, target.open("xb") as file:
                target.chmod(member.mode)
                shutil.copyfileobj(content, file)


def main() -> int:
    """Run one command; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    one = commands.add_parser("make", help="write a new archive")
    one.add_argument("folder", type=Path, help="of the archives")
    one.add_argument("--keep", type=int, default=14, help="so many archives (default: 14)")
    two = commands.add_parser("restore", help="lay an archive into empty folders")
    two.add_argument("archive", type=Path)
    for command in (one, two):
        command.add_argument("--results", type=Path, required=True, help="the results folder")
        command.add_argument("--master", type=Path, required=True, help="the master's folder")
    options = parser.parse_args()
    try:
        if options.command == "make":
            made = make(options.folder, options.results, options.master, max(1, options.keep))
            sys.stdout.write(f"{made}\n")
        else:
            restore(options.archive, options.results, options.master)
    except (BackupError, OSError, sqlite3.Error, tarfile.TarError) as error:
        sys.stderr.write(f"backup: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
