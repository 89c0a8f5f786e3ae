"""The timeline of one trial: observations from every source, in the order they arrived."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Final

from results.record import Evidence, Kind, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

# Evidence after which nothing more can be measured: the load is over, one way or the other.
ENDINGS: Final = frozenset(
    {
        Kind.ARTIFACT_REFUSED,
        Kind.BROWSER_GONE,
        Kind.CHILD_GONE,
        Kind.CPU_FALLBACK,
        Kind.DEADLINE,
        Kind.DEVICE_LOST,
        Kind.DONE,
        Kind.ENGINE_ERROR,
        Kind.LAB_ERROR,
        Kind.RENDERER_GONE,
        Kind.TRANSPORT_LOST,
        Kind.UNSUPPORTED,
    }
)

# An ending that another source can still explain: the kernel's counter, the browser's stderr and
# CDP report the same death at different times (0.08 s to 0.97 s were seen between them).
DEATHS: Final = frozenset(
    {Kind.BROWSER_GONE, Kind.CHILD_GONE, Kind.DEVICE_LOST, Kind.RENDERER_GONE}
)


class Timeline:
    """Collects evidence; the trial waits on it. All calls happen on one event loop.

    Args:
        clock: seconds on a monotonic clock; tests pass their own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._items: list[Evidence] = []
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[Evidence], None]] = []

    @property
    def start(self) -> float:
        """The monotonic time that all evidence counts from."""
        return self._start

    @property
    def items(self) -> tuple[Evidence, ...]:
        """Everything so far, by time."""
        return tuple(sorted(self._items, key=lambda item: item.at_seconds))

    @property
    def ending(self) -> Evidence | None:
        """The first evidence that ended the load, or `None`."""
        return next((item for item in self._items if item.kind in ENDINGS), None)

    def now(self) -> float:
        """Seconds since the start of the trial."""
        return self._clock() - self._start

    def listen(self, listener: Callable[[Evidence], None]) -> None:
        """Call `listener` with every further piece of evidence."""
        self._listeners.append(listener)

    def add(self, source: Source, kind: Kind, /, **detail: JsonValue) -> Evidence:
        """Record an observation made now."""
        item = Evidence(
            at_seconds=round(self.now(), 4),
            source=source,
            kind=kind,
            detail=detail,
        )
        self._items.append(item)
        for listener in self._listeners:
            listener(item)
        self._changed.set()
        return item

    def first(self, *kinds: Kind) -> Evidence | None:
        """The first evidence of one of these kinds."""
        return next((item for item in self.items if item.kind in kinds), None)

    def touch(self) -> None:
        """Note that the page is alive, without evidence."""
        self._changed.set()

    async def changed(self, *, within: float) -> bool:
        """Wait up to `within` seconds for the next evidence or sign of life; whether it came.

        One waiter at a time. What came since the last call counts.
        """
        try:
            async with asyncio.timeout(within):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


# What Chromium writes to stderr when it dies of memory, and when its GPU process goes away.
# V8: third_party/blink/renderer/bindings/core/v8/v8_oom.cc, and V8's own words where no embedder
# has others (src/api/api.cc, V8::FatalProcessOutOfMemory); allocator: base/process/memory.cc
# (OnNoMemoryInternal); Blink's heap: "Oilpan"; GPU: content/browser/gpu/gpu_process_host.cc.
# Each is matched at the start of its message, since the browser also logs text of the page
# (the label of a GPU buffer, a console message), which may say anything.
# A large allocation that Chromium refuses to make ends in a trap without any line.
_LOG: Final = r"^(?:\[[^\]]*\] ?)?"
_STDERR: Final = (
    (
        re.compile(_LOG + r"V8 (?:javascript|process) OOM \((?P<reason>.*)\)"),
        Kind.V8_OOM,
    ),
    (
        re.compile(
            r"^(?:FATAL ERROR: |# Fatal )"
            r"(?P<reason>.*JavaScript heap out of memory|(?:JavaScript|process) out of memory.*)",
            re.IGNORECASE,
        ),
        Kind.V8_OOM,
    ),
    (
        re.compile(_LOG + r"(?P<reason>(?:Oilpan: )?Out of memory\b.*)"),
        Kind.OUT_OF_MEMORY_LINE,
    ),
    (
        # An exception that C++ code outside of a browser does not catch (libstdc++).
        re.compile(r"^terminate called after throwing an instance of '(?P<reason>std::bad_alloc)'"),
        Kind.OUT_OF_MEMORY_LINE,
    ),
    (
        re.compile(_LOG + r"GPU process exited unexpectedly: exit_code=(?P<exit_code>-?\d{1,9})"),
        Kind.GPU_PROCESS_GONE,
    ),
)


def read_stderr_line(line: str) -> tuple[Kind, dict[str, JsonValue]] | None:
    """What one line of a browser's stderr says about a death, or `None` when it says nothing."""
    for pattern, kind in _STDERR:
        if found := pattern.search(line):
            detail: dict[str, JsonValue] = {
                name: int(value) if name == "exit_code" else value[:400]
                for name, value in found.groupdict().items()
            }
            return kind, {**detail, "line": line.strip()[:400]}
    return None
