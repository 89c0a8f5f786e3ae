"""What a host hands over, as one file: packed on the host, unpacked and merged on the controller.

A bundle holds everything of the host's store that the controller has not confirmed. A host that was
cut off hands over later, and what arrives twice is there once.
"""

from __future__ import annotations

import contextlib
import glob
import tarfile
from typing import TYPE_CHECKING, Final

from harness.errors import UserError
from harness.fleet.master_folder import BROKEN
from harness.owned_folder import owned_folder
from harness.unpacking import unpack
from results.files import replaced
from results.fleet.handover import make_bundle
from results.fleet.journal import absorb
from results.store import FILE_NAME
from results.upkeep.merge import merge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from results.fleet.handover import Bundle
    from results.store import Store
    from results.upkeep.merge import Merged

# In the results folder: a bundle may be as big as the results, and what a killed command left of
# one is found there by the next.
_SCRATCH: Final = ".handover"


@contextlib.contextmanager
def _scratch(store: Store) -> Iterator[Path]:
    parent = store.path.parent / _SCRATCH
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(owned_folder(parent))
        except OSError as error:
            raise UserError(
                f"{parent}: there is no room for a bundle: {error.strerror}", "free the disk"
            ) from error
        yield folder


def pack(store: Store, file: Path) -> Bundle:
    """Write what is not confirmed yet into one file; whole when this returns.

    Raises:
        StoreError: the store cannot be read.
        UserError: the file cannot be written.
    """
    with _scratch(store) as folder:
        bundle = make_bundle(store, folder / "results")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # A worker packs one bundle at a time: this is what a killed one left.
            for half in file.parent.glob(f".{glob.escape(file.name)}.*.partial"):
                half.unlink(missing_ok=True)
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
    with _scratch(store) as folder:
        try:
            with tarfile.open(file, "r:gz") as archive:
                unpack(archive, folder)
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
                file.replace(file.with_name(f"{file.name}{BROKEN}"))
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
