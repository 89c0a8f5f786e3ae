"""What a host hands over, as one file: packed on the host, unpacked and merged on the controller.

A bundle holds everything of the host's store that the controller has not confirmed. A host that was
cut off hands over later, and what arrives twice is there once.
"""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from results.files import replaced
from results.fleet.handover import make_bundle
from results.fleet.journal import absorb
from results.store import FILE_NAME
from results.upkeep.merge import merge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from results.fleet.handover import Bundle
    from results.store import Store
    from results.upkeep.merge import Merged


def pack(store: Store, file: Path) -> Bundle:
    """Write what is not confirmed yet into one file; whole when this returns.

    Raises:
        StoreError: the store cannot be read.
        UserError: the file cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="tierlab-bundle-") as name:
        folder = Path(name)
        bundle = make_bundle(store, folder / "results")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with (
                replaced(file) as whole,
                tarfile.open(fileobj=whole, mode="w:gz", compresslevel=1) as archive,
            ):
                archive.add(folder / "results", arcname=".")
        except OSError as error:
            raise UserError(
                f"{file}: the bundle cannot be written: {error.strerror}", "free the disk"
            ) from error
    return bundle


def deliver(store: Store, file: Path) -> Merged:
    """Take up a bundle.

    The file is a host's: nothing of it is written outside of a fresh folder.

    Raises:
        UserError: it is no bundle.
        StoreError: the store cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="tierlab-delivery-") as name:
        folder = Path(name)
        try:
            with tarfile.open(file, "r:gz") as archive:
                archive.extractall(folder, filter="data")
        except (OSError, tarfile.TarError, EOFError) as error:
            raise UserError(
                f"{file}: is no whole bundle: {error}", "the host sends it again with its next job"
            ) from error
        if not (folder / FILE_NAME).is_file():
            raise UserError(f"{file}: there are no results in it", "see the log of its host")
        return merge(store, folder)


def receive(store: Store, files: Iterable[Path]) -> tuple[list[str], bool]:
    """Take up bundles, and remove each that was taken up; what to say of it, and whether all is.

    A bundle that cannot be read is put aside and not tried again: its host still has what is in it.

    Raises:
        StoreError: the store cannot be written.
    """
    told, clean = [], True
    for file in files:
        try:
            merged = deliver(store, file)
        except UserError as error:
            with contextlib.suppress(OSError):
                file.replace(file.with_name(f"{file.name}.broken"))
            told.append(str(error))
            clean = False
            continue
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
        told.append(
            f"{file.name}: {merged.records} new trials, {merged.superseded} set aside,"
            f" {merged.known} known, {len(merged.conflicts) + len(merged.unreadable)} left"
        )
        clean = clean and merged.clean
    journal = absorb(store, store.path.parent)
    if journal.new or journal.bad:
        told.append(f"the journal: {journal.new} new lines, {len(journal.bad)} that are none")
    return told, clean
