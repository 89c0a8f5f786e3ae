"""The matrix as a website that works from a disk, offline, and loads nothing from outside."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from results.matrix.model import Matrix
    from results.store import Store

INSTALL: Final = "pip install 'tierlab[site]'"

_NEEDED: Final = ("jinja2", "markdown_it", "material", "mkdocs", "vl_convert")


class SiteError(Exception):
    """The site cannot be built; the message says what is wrong and what to do."""


def build_site(matrix: Matrix, source: Path, target: Path, *, store: Store | None = None) -> Path:
    """Build the website of a matrix.

    Args:
        matrix: what is shown.
        source: the folder with `matrix.json`, `evidence/` and `badges/`. Where the target lies
            inside of it pages link to these files; anywhere else they are copied into the site.
        target: the folder of the site; what an earlier build left there is replaced.
        store: where the trends by browser version come from; without it there are none.

    Returns:
        The site's `index.html`.

    Raises:
        SiteError: what it takes is not installed, or the pages cannot be turned into a website.
        PublishError: the target holds something else, or cannot be written.
        StoreError: the store cannot be read.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SiteError(f"the website needs {', '.join(missing)}: {INSTALL}")
    from results.site.build import build  # noqa: PLC0415 - needs what was just looked for

    return build(matrix, source, target, store=store)
