"""Where a page can take a model's bytes from. The page's side is `harness/web/static/source.js`.

The same file costs different amounts of memory by where it comes from, and some sources still have
it when the network is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.errors import unknown


@dataclass(frozen=True, slots=True)
class ByteSource:
    """One place that bytes come from.

    Attributes:
        name: what users type.
        persistent: whether it needs a profile on disk; others run in a private window.
        picked: whether the user picks the files.
        forgets: why nothing is left for a load without a network; "" where something is.
    """

    name: str
    persistent: bool = False
    picked: bool = False
    forgets: str = ""


SOURCES: Final = {
    source.name: source
    for source in (
        # Even without `no-store` a browser's HTTP cache does not keep files of this size reliably.
        ByteSource("network", forgets="nothing is stored: each load fetches the files again"),
        ByteSource("cache", persistent=True),
        ByteSource("opfs", persistent=True),
        ByteSource("opfs-private"),
        ByteSource("file", picked=True),
    )
}
DEFAULT_SOURCE: Final = "network"


def find_source(name: str) -> ByteSource:
    """The source of that name.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    try:
        return SOURCES[name]
    except KeyError:
        raise unknown("source", name, SOURCES) from None
