"""Where the npm packages are that pages load: this project's own, or for a while another folder."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE_MODULES: Final = Path(__file__).parent.parent / "node_modules"

_folder: ContextVar[Path] = ContextVar("node_modules", default=NODE_MODULES)


def node_modules() -> Path:
    """The folder of npm packages that servers serve and versions are read from."""
    return _folder.get()


@contextmanager
def packages_from(folder: Path) -> Iterator[None]:
    """Take packages from another folder while the block runs, in this task only."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)
