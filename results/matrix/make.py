"""One call from the store to a finished matrix: data, Markdown, badges, evidence and site."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from results.errors import StoreError
from results.files import replaced
from results.matrix.build import DEFAULT_EXPIRY_DAYS, build_matrix
from results.matrix.markdown import to_markdown
from results.matrix.publish import MARKER, PublishError, publication
from results.matrix.write import MARKDOWN_FILE, write_matrix
from results.query import count_trials
from results.site import build_site
from results.store import FILE_NAME, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from results.matrix.model import Matrix
    from results.matrix.write import Progress, Written

FOLDER: Final = "matrix"
"""Where in the results folder the matrix is, unless it is asked for elsewhere."""

_SITE: Final = "site"
_INDEX: Final = "index.html"
# The data is the product and lies at the top; who opens the folder is led to the pages.
_TO_THE_SITE: Final = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={_SITE}/{_INDEX}">
<title>tierlab</title>
<p><a href="{_SITE}/{_INDEX}">Which device runs which model</a></p>
</html>
"""


@dataclass(frozen=True, slots=True)
class Made:
    """A finished matrix.

    Attributes:
        matrix: the matrix itself.
        folder: where it is.
        first: the file to open: the site's first page, or the Markdown where there is no site.
        written: how many cells it has, and what is missing.
    """

    matrix: Matrix
    folder: Path
    first: Path
    written: Written

    @property
    def address(self) -> str:
        """The file to open, as an address for a browser."""
        return self.first.resolve().as_uri()

    @property
    def words(self) -> str:
        """What was made, in one line."""
        meta, cells = self.matrix.meta, self.written.cells
        faults = f"; {meta.infra_trials} that failed by the lab's own fault are left out"
        return (
            f"{cells} cell{'' if cells == 1 else 's'} from {meta.trials}"
            f" trial{'' if meta.trials == 1 else 's'}{faults if meta.infra_trials else ''}"
        )

    @property
    def warning(self) -> str:
        """What is missing, and what to do; "" where nothing is."""
        lost = len(self.written.without_evidence)
        if not lost:
            return ""
        return (
            f"{lost} of {self.written.cells} cells have no evidence: their records are missing or"
            " damaged; `tierlab store check` says more"
        )


def make_matrix(
    results: Path,
    output: Path,
    *,
    site: bool = True,
    expiry_days: int = DEFAULT_EXPIRY_DAYS,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
) -> Made | None:
    """Make the matrix of a results folder; `None` where no trial is stored there.

    Args:
        results: the results folder.
        output: where to; an earlier matrix there is replaced at once, when all is done.
        site: whether to build the website, which takes seconds.
        expiry_days: see `build_matrix`.
        say: told what is being done.
        progress: see `write_matrix`.

    Raises:
        StoreError: there is no store, or it cannot be read.
        PublishError: the output folder holds something else, or cannot be written.
        SiteError: the site cannot be built.
    """
    if not (results / FILE_NAME).is_file():
        raise StoreError(
            f"{results}: there are no results here\n  -> run `tierlab run` first, or name another"
            " folder with --results"
        )
    with Store.open(results) as store:
        if not count_trials(store):
            return None
        say("reading the store")
        matrix = build_matrix(store, datetime.now(UTC), expiry_days)
        with publication(output) as folder:
            say("writing the evidence")
            written = write_matrix(matrix, store, results, folder, progress)
            first = MARKDOWN_FILE
            if site:
                say("building the site")
                build_site(matrix, folder, folder / _SITE, store=store)
                (folder / _INDEX).write_text(_TO_THE_SITE, encoding="utf-8")
                first = f"{_SITE}/{_INDEX}"
    return Made(matrix, output, output / first, written)


def publish(made: Made, target: Path) -> None:
    """Replace a published matrix by this one, at one moment.

    Raises:
        PublishError: the target holds something else, cannot be written, or one of the two folders
            lies in the other.
    """
    source, place = made.folder.resolve(), target.resolve()
    if source == place:
        return
    if source.is_relative_to(place) or place.is_relative_to(source):
        raise PublishError(
            f"{target}: lies in {made.folder}, or holds it\n  -> name a folder beside it"
        )
    with publication(target) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MARKER))


def write_markdown(made: Made, path: Path, published: Path | None) -> None:
    """Write the matrix as Markdown to a file of a repository.

    Args:
        made: the matrix.
        path: the file, which is replaced.
        published: the folder that its links lead to; without one it has no links, since the
            matrix in a results folder is nowhere else.

    Raises:
        PublishError: it cannot be written.
    """

    def link(address: str) -> str | None:
        if published is None:
            return None
        return os.path.relpath(published.resolve() / address, path.resolve().parent)

    try:
        with replaced(path) as file:
            file.write(to_markdown(made.matrix, link).encode())
    except OSError as error:
        raise PublishError(f"{path}: cannot be written: {error}\n  -> name another file") from error
