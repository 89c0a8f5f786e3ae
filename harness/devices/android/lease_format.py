"""What the note of a lease on a phone looks like, and when it no longer counts.

Pure: `lease_note` reads and writes. The note is the highest-numbered symbolic link of one folder on
the phone. Its target is the text: a link and its text come into being in one step, and never over
one that exists. `free` is the text of a phone that nobody holds; else it is a `Noted` as JSON, with
everything quoted as in a URL that a shell could take for its own. `NUMBER.beat` beside it is the
last sign of the holder: one line, `BOOT UPTIME`.

Times are the phone's own: seconds since its boot (`/proc/uptime`, which goes on while it sleeps) in
a boot that has an id (`/proc/sys/kernel/random/boot_id`; both in proc(5)). The date is not used: it
jumps when a phone finds a network. Nor can any clock say for how long a phone was off; so a holder
has, after a boot, as long to give a sign as it always has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote, unquote

from pydantic import AwareDatetime, Field, ValidationError

from results.record import Part

if TYPE_CHECKING:
    from collections.abc import Iterable

# A holder gives a sign ten times as often. A phone under a load may take long to run a command, and
# a host stands still while it makes a model file; this is waited for only where a host died.
EXPIRY_SECONDS: Final = 300.0
FREE: Final = "free"
_PLAIN: Final = '{}[]":, +@'
# A link's target may have 4095 bytes, and a character may take 12 of them.
_Words = Annotated[str, Field(max_length=100)]
# mksh counts in 32 bits; and one lease a second would take thirty years.
_ENTRY: Final = re.compile(r"(?P<number>[1-9][0-9]{0,8})(?P<kind>|\.beat|\.part)")
_CLOCK: Final = re.compile(r"(?P<boot>[0-9a-f-]{1,64}) (?P<uptime>[0-9]{1,12}(\.[0-9]{1,9})?)")
_LONGEST_ANSWER: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class PhoneTime:
    """A moment on a phone: which boot (`-`: the phone does not tell), and seconds since then."""

    boot: str
    uptime: float


class Noted(Part):
    """Who holds a phone.

    Attributes:
        host: the holder's machine, by name.
        host_id: its state directory, in which no two of its processes hold one resource.
        resource: what the lease was taken on there.
        owner: who holds it, in words.
        run_id: the run that it is for.
        since: when it was taken, by the holder's clock; for people only.
        boot, uptime: when it was taken, by the phone.
    """

    host: _Words
    host_id: _Words
    resource: Annotated[str, Field(max_length=220)]
    owner: _Words
    run_id: _Words | None = None
    since: AwareDatetime
    boot: str
    uptime: float

    def __str__(self) -> str:
        since = self.since.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        return f"{self.owner} on {self.host} (since {since})"

    def is_by(self, other: Noted) -> bool:
        """Whether both are of one place, where a local lease keeps them apart."""
        mine, theirs = ((noted.host, noted.host_id, noted.resource) for noted in (self, other))
        return mine == theirs


@dataclass(frozen=True, slots=True)
class Seen:
    """What the folder on a phone held at a moment.

    Attributes:
        now: that moment.
        number: of the highest note; 0: there is none.
        free: whether nobody holds the phone.
        noted: who does; None where nobody does, or where the note cannot be read.
        last_sign: the holder's last beat, or its beginning; None: unreadable.
        names: all entries.
    """

    now: PhoneTime
    number: int
    free: bool
    noted: Noted | None
    last_sign: PhoneTime | None
    names: tuple[str, ...]

    @property
    def silent_seconds(self) -> float:
        """For how long the holder has certainly given no sign."""
        last, now = self.last_sign, self.now
        if last is not None and last.boot == now.boot and last.uptime <= now.uptime:
            return now.uptime - last.uptime
        return now.uptime

    @property
    def held(self) -> bool:
        """Whether somebody holds the phone, and lives."""
        return not self.free and self.silent_seconds < EXPIRY_SECONDS

    @property
    def holder(self) -> str:
        """Who holds it, in words."""
        return str(self.noted) if self.noted else "somebody whose note cannot be read"

    @property
    def older(self) -> tuple[str, ...]:
        """The entries that no longer count once a higher number than theirs exists."""
        return tuple(name for name in self.names if _ENTRY.fullmatch(name))


def parse_seen(text: str) -> Seen:
    """What `lease_note` asked the phone: a line with its time, then a name and a text a line.

    Raises:
        ValueError: the first line is no time.
    """
    head, *lines = text[:_LONGEST_ANSWER].splitlines() or [""]
    now = parse_time(head)
    if now is None:
        raise ValueError(f"the phone does not tell its time: {head[:80]!r}")
    entries = {name: words for name, _, words in (line.partition(" ") for line in lines)}
    number = highest(entries)
    words = entries.get(str(number), FREE)
    noted = None if words == FREE else parse_note(words)
    began = PhoneTime(noted.boot, noted.uptime) if noted else None
    last = parse_time(entries.get(f"{number}.beat", "")) or began
    return Seen(now, number, words == FREE, noted, last, tuple(entries))


def parse_time(line: str) -> PhoneTime | None:
    """`BOOT UPTIME`; None where it is something else."""
    found = _CLOCK.fullmatch(line.strip())
    return PhoneTime(found["boot"], float(found["uptime"])) if found else None


def highest(names: Iterable[str]) -> int:
    """The number of the highest note among the names of a folder; 0: there is none."""
    found = (_ENTRY.fullmatch(name) for name in names)
    return max((int(entry["number"]) for entry in found if entry and not entry["kind"]), default=0)


def note_text(noted: Noted) -> str:
    """The text of a note: ASCII, without a character that a shell's `echo` would change."""
    return quote(noted.model_dump_json(exclude_none=True), safe=_PLAIN)


def parse_note(text: str) -> Noted | None:
    """The note again; None where it is none."""
    try:
        return Noted.model_validate_json(unquote(text, errors="strict"))
    except (ValidationError, UnicodeDecodeError):
        return None
