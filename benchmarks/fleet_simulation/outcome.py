"""What came of a night, and the makespan that no schedule can beat."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.fleet_simulation.lab import Lab
    from benchmarks.fleet_simulation.parameters import Parameters


@dataclass(slots=True)
class Outcome:
    """Sums over a night; device time is in seconds of one phone.

    Attributes:
        requested: trials that were asked for.
        recorded: trials that ended in a record, each once.
        lost: given up, because their tries were spent.
        not_reached: neither; the deadline passed, or no device was left.
        late: recorded after the deadline, which they had been started before.
        makespan: until the last record.
        lower_bound: what no schedule can beat, without any fault.
        work: device time of what was recorded, the wait for the host's USB left out.
        usb_wait: device time that recorded trials waited for and used the host's USB.
        wasted: device time of tries that came to nothing.
        mending: device time of recovery and checks.
        queue_wait: from asked-for to the start of the try that was recorded, summed.
    """

    requested: int
    lower_bound: float
    phones: int
    recorded: int = 0
    lost: int = 0
    not_reached: int = 0
    late: int = 0
    makespan: float = 0.0
    work: float = 0.0
    usb_wait: float = 0.0
    wasted: float = 0.0
    mending: float = 0.0
    queue_wait: float = 0.0
    tries: Counter[str] = field(default_factory=Counter)

    @property
    def utilisation(self) -> float:
        """Of the time of all phones until the last record: the share that made records."""
        return self.work / (self.phones * self.makespan) if self.makespan else 0.0

    @property
    def over_bound(self) -> float:
        """The makespan as a multiple of the lower bound."""
        return self.makespan / self.lower_bound if self.lower_bound else 0.0

    @property
    def wasted_share(self) -> float:
        """Of the device time that was spent, the share that came to nothing."""
        spent = self.work + self.usb_wait + self.wasted + self.mending
        return (self.wasted + self.mending) / spent if spent else 0.0


def lower_bound(lab: Lab, parameters: Parameters) -> float:
    """Seconds that any schedule needs, were there no fault and no loss.

    The largest of: the work of a profile by its devices; the longest trial with its own transfer;
    what goes over USB, by all the connections there are.
    """
    devices = Counter(phone.profile for phone in lab.phones)
    rate = parameters.usb_bytes_per_s

    def whole(profile: int) -> list[float]:
        return [r.seconds + r.file_bytes / rate for r in lab.requests[profile]]

    by_profile = [
        max(sum(whole(profile)) / devices[profile], max(whole(profile), default=0.0))
        for profile in range(len(lab.requests))
    ]
    sent = sum(request.file_bytes for asked in lab.requests for request in asked)
    links = lab.hosts * parameters.usb_links
    return max([*by_profile, sent / (links * rate)])
