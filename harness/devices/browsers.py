"""Find the browsers of this machine: by override, PATH, the usual places, Playwright's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.profiles import BrowserSection, Channel

OVERRIDE: Final = "TIERLAB_BROWSER"

_COMMANDS: Final[dict[Channel, tuple[str, ...]]] = {
    "chrome": ("google-chrome", "google-chrome-stable", "chrome"),
    "chromium": ("chromium", "chromium-browser"),
    "msedge": ("microsoft-edge", "microsoft-edge-stable"),
    "firefox": (),  # a distribution's Firefox does not speak Playwright's protocol
    "webkit": (),
}

_PLACES: Final[dict[Channel, tuple[str, ...]]] = {
    "chrome": (
        "/opt/google/chrome/chrome",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ),
    "chromium": ("/Applications/Chromium.app/Contents/MacOS/Chromium",),
    "msedge": (
        "/opt/microsoft/msedge/msedge",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "firefox": (),
    "webkit": (),
}

# Inside Playwright's own folder of browsers.
_PLAYWRIGHT: Final[dict[Channel, tuple[str, ...]]] = {
    "chrome": (),
    "chromium": (
        "chromium-*/chrome-linux*/chrome",
        "chromium-*/chrome-mac*/Chromium.app/Contents/MacOS/Chromium",
    ),
    "msedge": (),
    "firefox": ("firefox-*/firefox/firefox", "firefox-*/firefox/*.app/Contents/MacOS/firefox"),
    "webkit": ("webkit-*/pw_run.sh",),
}

_ADVICE: Final[dict[Channel, str]] = {
    "chrome": "install Google Chrome, or `playwright install chrome`",
    "chromium": "`apt-get install chromium`, or `playwright install chromium`",
    "msedge": "install Microsoft Edge, or `playwright install msedge`",
    "firefox": "`playwright install firefox` (a distribution's Firefox cannot be driven)",
    "webkit": "`playwright install webkit`",
}


_VERSION_SECONDS: Final = 20
_VERSION_TRIES: Final = 3
_KILLED: Final = 129
_versions: Final[dict[Path, str]] = {}


@dataclass(frozen=True, slots=True)
class InstalledBrowser:
    """A browser that can be started."""

    channel: str
    path: Path
    version: str

    @property
    def major(self) -> int | None:
        """The major version, `None` when the browser printed none."""
        found = re.match(r"\d+", self.version)
        return int(found.group()) if found else None


def playwright_browsers_directory() -> Path:
    """Where Playwright keeps the browsers it installs."""
    if override := os.environ.get("PLAYWRIGHT_BROWSERS_PATH"):
        return Path(override)
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/ms-playwright"
    return Path.home() / ".cache/ms-playwright"


def candidates(channel: Channel) -> Iterator[Path]:
    """Where a browser of that channel may be, best place first."""
    yield from (Path(found) for name in _COMMANDS[channel] if (found := shutil.which(name)))
    yield from (Path(place) for place in _PLACES[channel])
    for pattern in _PLAYWRIGHT[channel]:
        yield from sorted(playwright_browsers_directory().glob(pattern), reverse=True)


def read_version(path: Path) -> str:
    """What `--version` prints, reduced to the number; "" when it prints none.

    An answer is kept for as long as this process lives. One that was killed or did not end in time
    gave none, which says nothing of the browser: it is asked again, and after the last try the next
    time.
    """
    if path not in _versions:
        for _ in range(_VERSION_TRIES):
            printed = _printed(path)
            if printed is not None:
                found = re.search(r"\d+(\.\d+)+", printed)
                _versions[path] = found.group() if found else ""
                break
    return _versions.get(path, "")


def _printed(path: Path) -> str | None:
    """What `--version` prints; `None` where it could not say it to its end."""
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_SECONDS,
            check=False,
        )
    except OSError:
        return ""
    except subprocess.TimeoutExpired:
        return None
    # A shell in between tells a signal as 128 and its number.
    return done.stdout if 0 <= done.returncode < _KILLED else None


def find_browser(section: BrowserSection) -> InstalledBrowser | str:
    """The first browser of the section's channels, or the reason why there is none."""
    if section.engine == "chromium" and (override := os.environ.get(OVERRIDE)):
        path = Path(override)
        if not os.access(path, os.X_OK):
            return f"{OVERRIDE} names {path}, which is not an executable file"
        return InstalledBrowser("chromium", path, read_version(path))
    for channel in section.channels:
        for path in candidates(channel):
            if os.access(path, os.X_OK):
                return InstalledBrowser(channel, path, read_version(path))
    return _absent(section.channels)


def browser_at(path: Path, section: BrowserSection) -> InstalledBrowser | str:
    """The browser at a path, whatever the section would find; or the reason why there is none."""
    if not os.access(path, os.X_OK):
        return f"{path} is not an executable file"
    return InstalledBrowser(section.engine, path, read_version(path))


def _absent(channels: Iterable[Channel]) -> str:
    names = list(channels)
    return f"no {' or '.join(names)} on this machine: {_ADVICE[names[0] if len(names) == 1 else 'chromium']}"  # noqa: E501
