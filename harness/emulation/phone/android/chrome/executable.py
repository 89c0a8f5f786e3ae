"""The program behind a browser's launcher.

A distribution's `chromium` is a script that looks at the processor's flags in `/proc/cpuinfo`,
which inside a virtual phone are those of another processor, and then starts the program.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBRARIES: Final = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
_PROGRAMS: Final = ("chromium", "chromium-browser", "chrome")


def program_of(launcher: Path) -> Path:
    """The program that a launcher starts; the launcher itself where none is found."""
    real = launcher.resolve()
    if not _is_script(real):
        return real
    return next((path for path in _candidates(real) if os.access(path, os.X_OK)), real)


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _candidates(launcher: Path) -> Iterator[Path]:
    """Beside the launcher, as Google does it, and in a folder of its name, as distributions do."""
    yield from (launcher.parent / name for name in _PROGRAMS if name != launcher.name)
    for library in _LIBRARIES:
        folder = Path(library, launcher.name)
        yield from (folder / name for name in (launcher.name, *_PROGRAMS))
