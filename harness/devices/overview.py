"""Every device profile in one line: whether it can be used now, and why not.

Pure: `look` gathers the facts, this module puts them into words, and `commands` prints them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from harness.devices.android.discovery import ENABLE, Found, Unready, mismatches
from harness.devices.android.facts.text import clean
from harness.devices.device_state import Condition, DeviceState, phone_resource
from harness.devices.health import expired
from results.record import Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from harness.devices.lease import Holder
    from harness.profiles import Profile


class Use(StrEnum):
    """Whether a device can be used now. Several devices are summed up by the first of theirs."""

    READY = "ready"
    UNHEALTHY = "unhealthy"  # checked, and helped if need be, before its next job
    BUSY = "busy"
    DRAINING = "draining"
    DRAINED = "drained"
    MAINTENANCE = "maintenance"
    QUARANTINED = "quarantined"
    NOT_READY = "not ready"
    MISSING = "missing"
    NONE = "no device"
    UNUSABLE = "unusable"
    SPEC_SHEET = "spec sheet"


USABLE: Final = frozenset({Use.READY, Use.UNHEALTHY})


class DeviceLine(Part):
    """One live device: what a lease of it is taken on, whether it can be used, and why not."""

    resource: str
    serial: str | None = None
    use: Use
    why: str = ""
    next_step: str = ""


class ProfileLine(Part):
    """One device profile, and the live devices that it stands for here."""

    profile: str
    name: str
    kind: str
    use: Use
    usable: bool
    why: str = ""
    next_step: str = ""
    devices: tuple[DeviceLine, ...] = ()


class Overview(Part):
    """All profiles, phones that are of none of them, and what helps where there is no phone."""

    profiles: tuple[ProfileLine, ...]
    others: tuple[DeviceLine, ...]
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of all devices at one moment.

    Attributes:
        now: the moment.
        blocked: of profiles that cannot be used whatever is attached, why and the next step.
        phones: all that adb sees; of those that are ready, their properties.
        no_phones: why adb cannot be asked.
        elsewhere: by resource, who holds a phone from another host.
        states: by resource, what is known from before.
        holders: by resource, who holds a lease on this machine.
        emulated: whether phones are virtual ones, which are started when they are needed.
    """

    now: datetime
    blocked: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    phones: Sequence[Found | Unready] = ()
    no_phones: str | None = None
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, DeviceState] = field(default_factory=dict)
    holders: Mapping[str, Holder] = field(default_factory=dict)
    emulated: bool = False


def overview(profiles: Sequence[Profile], facts: Facts) -> Overview:
    """A line for each profile, and one for each phone that is of none."""
    lines = tuple(_profile_line(profile, facts) for profile in profiles)
    told = {device.resource for line in lines for device in line.devices}
    others = (_other(phone) for phone in facts.phones)
    without = any(line.use is Use.NONE for line in lines) and not facts.phones
    return Overview(
        profiles=lines,
        others=tuple(other for other in others if other.resource not in told),
        hint=f"adb sees no phone: {ENABLE}" if without and facts.no_phones is None else "",
    )


def resources_of(profile: Profile, facts: Facts) -> list[str]:
    """What leases of the devices of a profile are taken on: those here, and those known."""
    match profile.kind:
        case "desktop":
            return ["machine"]
        case "ios":
            return [f"ios-{profile.id}"]
        case "android":
            here = [phone_resource(phone.serial) for phone in _phones_of(profile, facts)]
            known = [r for r, state in facts.states.items() if state.profile == profile.id]
            return list(dict.fromkeys([*here, *sorted(known)]))


def _profile_line(profile: Profile, facts: Facts) -> ProfileLine:
    blocked = facts.blocked.get(profile.id)
    devices: tuple[DeviceLine, ...] = ()
    if blocked is not None:
        use = Use.SPEC_SHEET if profile.spec_sheet_only else Use.UNUSABLE
        why, step = blocked
    elif profile.kind == "android" and facts.emulated:
        use, why, step = Use.READY, "as a virtual phone", ""
    else:
        found = {phone_resource(phone.serial): phone for phone in facts.phones}
        devices = tuple(
            _device_line(resource, profile, found.get(resource), facts)
            for resource in resources_of(profile, facts)
        )
        use, why, step = _summed_up(devices, facts)
    return ProfileLine(
        profile=profile.id,
        name=profile.name,
        kind=profile.kind,
        use=use,
        usable=use in USABLE,
        why=why,
        next_step=step,
        devices=devices,
    )


def _summed_up(devices: Sequence[DeviceLine], facts: Facts) -> tuple[Use, str, str]:
    if not devices:
        return Use.NONE, facts.no_phones or "no phone of this kind is attached", ""
    if len(devices) == 1:
        return devices[0].use, devices[0].why, devices[0].next_step
    counted = Counter(device.use for device in devices)
    best = min(counted, key=list(Use).index)
    told = ", ".join(f"{counted[use]} {use}" for use in Use if use in counted)
    return best, f"{len(devices)} devices: {told}", ""


def _device_line(
    resource: str, profile: Profile, phone: Found | Unready | None, facts: Facts
) -> DeviceLine:
    state = facts.states.get(resource)
    holder = facts.holders.get(resource)
    use, why, step = Use.READY, "", ""
    if state is not None and state.maintenance is not None:
        note = state.maintenance
        use, why = Use.MAINTENANCE, f"{note.text} (says {note.by}, {_time(note.at)})"
        step = f"tierlab devices note {resource} --clear"
    elif state is not None and state.drained is not None:
        note = state.drained
        why = f"{note.text or 'no reason given'} (says {note.by}, {_time(note.at)})"
        use, why = (Use.DRAINING, f"{why}; {holder} goes on") if holder else (Use.DRAINED, why)
        step = f"tierlab devices undrain {resource}"
    elif holder is not None:
        use, why = Use.BUSY, str(holder)
    elif resource in facts.elsewhere:
        use, why = Use.BUSY, facts.elsewhere[resource]
    elif isinstance(phone, Unready):
        use, why, step = Use.NOT_READY, phone.reason, phone.next_step
    elif profile.kind == "android" and phone is None:
        use, why, step = Use.MISSING, _missing(state), "attach it; or wait, if it restarts"
    elif state is not None and state.condition is not Condition.READY:
        use, why, step = _ill(state, facts.now)
    return DeviceLine(
        resource=resource,
        serial=phone.serial if phone else None,
        use=use,
        why=why,
        next_step=step,
    )


def _ill(state: DeviceState, now: datetime) -> tuple[Use, str, str]:
    reason = state.reason or "no reason is known"
    if state.condition is Condition.QUARANTINED and not expired(state, now):
        until = _time(state.until) if state.until else "?"
        step = f"mend it, then `tierlab devices release {state.resource}`"
        return Use.QUARANTINED, f"until {until}: {reason}", step
    step = f"tierlab devices check {state.resource}"
    return Use.UNHEALTHY, f"{reason}; a health check comes before its next job", step


def _missing(state: DeviceState | None) -> str:
    if state is None or state.seen_at is None:
        return "known, and not attached"
    told = f"last seen {_time(state.seen_at)}"
    return told if state.condition is Condition.READY else f"{told}; {state.reason}"


def _phones_of(profile: Profile, facts: Facts) -> list[Found | Unready]:
    """The attached phones of a profile; one that does not tell what it is, by what it was."""
    match = profile.android.match if profile.android else {}

    def is_one(phone: Found | Unready) -> bool:
        if isinstance(phone, Found):
            return not mismatches(phone.properties, match)
        state = facts.states.get(phone_resource(phone.serial))
        return state is not None and state.profile == profile.id

    return [phone for phone in facts.phones if is_one(phone)]


def _other(phone: Found | Unready) -> DeviceLine:
    resource = phone_resource(phone.serial)
    if isinstance(phone, Unready):
        return DeviceLine(
            resource=resource,
            serial=phone.serial,
            use=Use.NOT_READY,
            why=phone.reason,
            next_step=phone.next_step,
        )
    words = (phone.properties.get(f"ro.product.{key}") for key in ("manufacturer", "model"))
    name = clean(" ".join(word for word in words if word)) or "a phone without a name"
    return DeviceLine(
        resource=resource,
        serial=phone.serial,
        use=Use.UNUSABLE,
        why=f"{name}: no profile describes it",
        next_step=f"tierlab profile capture {phone.serial}",
    )


def _time(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M")
