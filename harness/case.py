"""The evidence of one load, asked in the words of the rules of verdict.py."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from harness.evidence import DEATHS
from results.record import Evidence, Kind, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

# As numbers: they are also those of another device, whose names need not be this machine's.
SIGHUP, SIGINT, SIGBUS, SIGKILL, SIGSEGV, SIGTERM = 1, 2, 7, 9, 11, 15

_PROCESSES = {
    "browser": "the browser",
    "engine": "the engine's process",
    "gpu": "the GPU process",
    "renderer": "the renderer",
}

# What Chrome for Android says of a renderer whose end it cannot see: "oom protected" is a process
# that was bound to a visible page, however it ended; "normal" and "gone" are the others
# (content/browser/child_process_launcher_helper_android.cc, GetTerminationInfo).
STATUS_UNSEEN: Final = frozenset({"oom protected", "normal", "gone"})

# Android's reasons for an end that somebody asked for: a force-stop, a swipe, an update.
_ASKED_FOR: Final = frozenset(
    {
        "USER_REQUESTED",
        "USER_STOPPED",
        "PERMISSION_CHANGE",
        "PACKAGE_STATE_CHANGE",
        "PACKAGE_UPDATED",
    }
)
# The same in ActivityManager's lines, on phones that keep no exit records.
_ASKED_FOR_WORDS: Final = re.compile(r"^(from |stop |remove task|user |.*installPackage)")


class Case:
    """The evidence of one load, asked in the words of the rules."""

    def __init__(self, evidence: Sequence[Evidence]) -> None:
        items = sorted(evidence, key=lambda item: item.at_seconds)
        done = next((item for item in items if item.kind is Kind.DONE), None)
        # What happens after the tokens are out (tearing down) is not part of the load. That another
        # run had the device as well is only found out then.
        self.items = [
            item
            for item in items
            if done is None or item.at_seconds <= done.at_seconds or item.kind is Kind.LEASE_LOST
        ]

    def first(self, *kinds: Kind) -> Evidence | None:
        """The first evidence of one of these kinds."""
        return next((item for item in self.items if item.kind in kinds), None)

    def has(self, *kinds: Kind) -> bool:
        """Whether there is evidence of one of these kinds."""
        return self.first(*kinds) is not None

    def value(self, kind: Kind, key: str) -> str:
        """A detail of the first evidence of that kind, "" when there is none."""
        found = self.first(kind)
        return found.text(key) if found else ""

    @property
    def died(self) -> bool:
        """Whether a process that the load needs is gone."""
        return self.has(*DEATHS)

    @property
    def dead(self) -> set[str]:
        """Which of the processes that the load needs are gone, as their own connections told."""
        ways = {
            Kind.CHILD_GONE: "engine",
            Kind.RENDERER_GONE: "renderer",
            Kind.BROWSER_GONE: "browser",
            Kind.DEVICE_LOST: "gpu",
        }
        return {ways[item.kind] for item in self.items if item.kind in ways}

    def of_the_dead(self, *kinds: Kind) -> list[Evidence]:
        """What the system of a phone says about the processes that are gone."""
        dead = self.dead
        return [i for i in self.items if i.kind in kinds and i.text("process") in dead]

    @property
    def on_a_phone(self) -> bool:
        """Whether a browser was driven without a driver, as only a phone's is."""
        sources = {
            i.source for i in self.items if i.kind in {Kind.RENDERER_GONE, Kind.BROWSER_GONE}
        }
        return Source.CDP in sources and Source.DRIVER not in sources

    @property
    def memory_kill(self) -> Evidence | None:
        """What says that a phone's system killed a process that is gone, for memory.

        One word is not enough: lmkd kills others all the time, and a page dies of other things. So
        the page's process must be gone, and the system must name it: lmkd's line, or an exit
        record. Where the system cannot tell lmkd's kills apart (`SIGNALED`), it must be a SIGKILL,
        and lmkd must have killed in this trial.

        Of what was read after a lost transport came back, only what happened before it counts; the
        record of a process is its death as well.
        """
        if (lost := self.first(Kind.TRANSPORT_LOST)) is not None:
            before = Case([i for i in self.items if i.at_seconds < lost.at_seconds])
            return before.memory_kill or next(
                (
                    item
                    for item in self.items
                    if item.kind is Kind.EXIT_RECORD
                    and item.detail.get("before_loss") is True
                    and item.text("process") in {"renderer", "browser"}
                    and says_memory(item)
                ),
                None,
            )
        if self.renderer("status") == "crashed":
            return None  # by itself; what lmkd killed was another one of its kind
        said = self.of_the_dead(Kind.LMK_KILL, Kind.EXIT_RECORD)
        for item in said:
            if item.kind is Kind.LMK_KILL or says_memory(item):
                return item
        if self.has(Kind.LMK_KILL):
            return next((item for item in said if _signaled(item) == SIGKILL), None)
        return None

    @property
    def asked_for(self) -> Evidence | None:
        """What says that somebody asked the phone's system to end a process that is gone."""
        for item in self.of_the_dead(Kind.EXIT_RECORD, Kind.SYSTEM_KILL):
            words = item.text("reason")
            if words in _ASKED_FOR or (
                item.kind is Kind.SYSTEM_KILL and _ASKED_FOR_WORDS.search(words)
            ):
                return item
        return None

    @property
    def system_words(self) -> str:
        """What the phone's system recorded of the end, "" where it did not."""
        for item in self.of_the_dead(Kind.EXIT_RECORD, Kind.NATIVE_CRASH, Kind.PROCESS_EXIT):
            if item.kind is Kind.EXIT_RECORD:
                return f"exit-info: {item.text('reason')}, status {item.text('status')}"
            if words := item.text("line"):
                return words
        return ""

    @property
    def victim(self) -> str:
        """Which process died, in words."""
        if self.has(Kind.CHILD_GONE):
            return _PROCESSES["engine"]
        if self.has(Kind.RENDERER_GONE):
            return _PROCESSES["renderer"]
        if self.has(Kind.BROWSER_GONE):
            return _PROCESSES["browser"]
        if self.has(Kind.DEVICE_LOST):
            return _PROCESSES["gpu"]
        # Nothing but the watch saw it: then it is what ended last. A renderer that ended at the
        # start is another one, which the navigation to the trial page replaced.
        exits = [i.text("process") for i in self.items if i.kind is Kind.PROCESS_EXIT]
        return _PROCESSES.get(exits[-1], "a browser process") if exits else "a browser process"

    def renderer(self, key: str) -> str:
        """A detail of the renderer's end, from the first report that has it, else "".

        The driver reports a crash without any detail, and mostly before CDP reports its status.
        """
        ends = (item.text(key) for item in self.items if item.kind is Kind.RENDERER_GONE)
        return next((text for text in ends if text), "")

    @property
    def child_signal(self) -> int | None:
        """The signal that ended the engine's process; `None` where it ended otherwise or lives."""
        text = self.value(Kind.CHILD_GONE, "signal")
        return int(text) if text.isdecimal() else None

    @property
    def signal(self) -> int | None:
        """The signal that ended the engine's process, or what CDP gave for the renderer."""
        if self.child_signal is not None:
            return self.child_signal
        if (told := self.system_signal) is not None:
            return told
        if self.renderer("status") in STATUS_UNSEEN:
            return None
        try:
            return int(self.renderer("code"))
        except ValueError:
            return None

    @property
    def system_signal(self) -> int | None:
        """The signal that ended a process that is gone, as the phone's system says."""
        kinds = (Kind.EXIT_RECORD, Kind.NATIVE_CRASH, Kind.PROCESS_EXIT)
        signals = (_signaled(item) for item in self.of_the_dead(*kinds))
        return next((signal for signal in signals if signal is not None), None)

    @property
    def how_it_ended(self) -> str:
        """How the process that the load needs ended, with its last words if it had any."""
        if not self.has(Kind.CHILD_GONE):
            how = f"{self.renderer('status') or 'no status'}, signal {self.signal}"
            return f"{how}; {self.system_words}" if self.system_words else how
        code = self.value(Kind.CHILD_GONE, "exit_code")
        how = f"exit code {code}" if code else f"signal {self.signal}"
        words = self.value(Kind.CHILD_GONE, "line")
        return f"{how}: {words}" if words else how

    @property
    def error(self) -> str:
        """The page's error, "" when there is none."""
        found = self.first(Kind.ENGINE_ERROR)
        return f"{found.text('name')}: {found.text('message')}" if found else ""

    @property
    def rejected(self) -> str:
        """The first thing that the GPU rejected, "" when there is none."""
        return self.value(Kind.VALIDATION, "message")

    @property
    def phase(self) -> str:
        """The last phase that the page announced, or that it left word of in its storage."""
        if left := self.value(Kind.TOMBSTONE, "phase"):
            return left
        names = [item.text("name") for item in self.items if item.kind is Kind.PHASE]
        return names[-1] if names else "start"


def says_memory(item: Evidence) -> bool:
    """Whether an exit record names memory as the reason.

    Android 17 has a limit an app, and may say so in a description (`MemoryLimiter`), or not at all.
    """
    return (
        item.text("reason") == "LOW_MEMORY"
        or "OOM" in item.text("subreason")
        or "MemoryLimiter" in item.text("description")
    )


def _signaled(item: Evidence) -> int | None:
    """The signal of a process's end, from any of the system's words about it."""
    if item.kind is Kind.EXIT_RECORD:
        ended = item.text("reason") in {"SIGNALED", "CRASH_NATIVE"}
        text = item.text("status") if ended else ""
    else:
        text = item.text("signal")
    return int(text) if text.isdecimal() else None
