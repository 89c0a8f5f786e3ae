"""The source of builds that have none: Buildbot asks for one, and a lab builds nothing."""

from __future__ import annotations

from typing import Final

NO_SOURCE: Final = {
    "codebase": "",
    "repository": "",
    "branch": None,
    "revision": None,
    "project": "",
}
