"""Every profile in one line: ready, or why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harness.devices.android.discovery import Found, Unready
from harness.devices.device_state import Condition, DeviceState, Note
from harness.devices.lease import Holder
from harness.devices.overview import Facts, Overview, ProfileLine, Use, overview
from harness.profiles import load_profiles

PROFILES = load_profiles()
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
AT = NOW - timedelta(hours=1)
NOTE = Note(text="new cable", by="ana", at=AT)
HOLDER = Holder(resource="phone-A", owner="run 7", pid=12, since=AT, token=3)


def shown(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M")


def pixel(serial: str) -> Found:
    match = PROFILES["pixel7"].android
    assert match is not None
    return Found(serial, {key: patterns[0] for key, patterns in match.match.items()})


def state(resource: str = "phone-A", **changes: Any) -> DeviceState:
    return DeviceState(resource=resource, profile="pixel7", since=AT, **changes)


def seen(**facts: Any) -> Overview:
    given: dict[str, Any] = {"now": NOW, "phones": [pixel("A")]} | facts
    return overview([PROFILES["pixel7"], PROFILES["desktop"]], Facts(**given))


def line(**facts: Any) -> ProfileLine:
    return seen(**facts).profiles[0]


def told(**facts: Any) -> tuple[Use, str]:
    found = line(**facts)
    return found.use, found.why


def test_ready() -> None:
    assert told() == (Use.READY, "")
    assert [found.usable for found in seen().profiles] == [True, True]
    assert seen().hint == ""


def test_busy_here_and_on_another_host() -> None:
    assert told(holders={"phone-A": HOLDER}) == (Use.BUSY, str(HOLDER))
    busy = told(elsewhere={"phone-A": "in use by run 8 on lab-2"})
    assert busy == (Use.BUSY, "in use by run 8 on lab-2")


def test_drained_and_draining() -> None:
    drained = {"phone-A": state(drained=NOTE)}
    words = f"new cable (says ana, {shown(AT)})"
    assert told(states=drained) == (Use.DRAINED, words)
    draining = told(states=drained, holders={"phone-A": HOLDER})
    assert draining == (Use.DRAINING, f"{words}; {HOLDER} goes on")
    assert line(states=drained).next_step == "tierlab devices undrain phone-A"
    nothing = {"phone-A": state(drained=NOTE.model_copy(update={"text": ""}))}
    assert told(states=nothing)[1].startswith("no reason given (says ana")


def test_maintenance_comes_before_all_else() -> None:
    both = {"phone-A": state(drained=NOTE, maintenance=NOTE, condition=Condition.UNHEALTHY)}
    found = line(states=both, holders={"phone-A": HOLDER})
    assert (found.use, found.usable) == (Use.MAINTENANCE, False)
    assert found.next_step == "tierlab devices note phone-A --clear"


def test_quarantined_and_unhealthy() -> None:
    until = NOW + timedelta(hours=2)
    ill = state(condition=Condition.QUARANTINED, reason="no answer", until=until)
    assert told(states={"phone-A": ill}) == (Use.QUARANTINED, f"until {shown(until)}: no answer")
    over = ill.model_copy(update={"until": AT})
    found = line(states={"phone-A": over})
    assert (found.use, found.usable) == (Use.UNHEALTHY, True)
    assert found.why == "no answer; a health check comes before its next job"
    assert found.next_step == "tierlab devices check phone-A"


def test_missing() -> None:
    gone = {"phone-A": state(seen_at=AT)}
    assert told(phones=[], states=gone) == (Use.MISSING, f"last seen {shown(AT)}")
    ill = {"phone-A": state(seen_at=AT, condition=Condition.UNHEALTHY, reason="unplugged")}
    assert told(phones=[], states=ill)[1] == f"last seen {shown(AT)}; unplugged"
    assert told(phones=[], states={"phone-A": state()})[1] == "known, and not attached"


def test_attached_but_not_ready() -> None:
    unready = Unready("A", "unauthorized: it does not trust this computer yet", "unlock it")
    known = line(phones=[unready], states={"phone-A": state()})
    assert (known.use, known.why, known.next_step) == (
        Use.NOT_READY, unready.reason, unready.next_step,
    )  # fmt: skip
    # What was never seen may be anything.
    found = seen(phones=[unready])
    assert found.profiles[0].use is Use.NONE
    assert [(other.resource, other.use) for other in found.others] == [("phone-A", Use.NOT_READY)]


def test_no_phone_and_no_adb() -> None:
    found = seen(phones=[])
    assert found.profiles[0].use is Use.NONE
    assert found.hint.startswith("adb sees no phone: enable USB debugging")
    without = seen(phones=[], no_phones="there is no adb on this machine")
    assert without.profiles[0].why == "there is no adb on this machine"
    assert without.hint == ""


def test_several_devices_are_counted_and_the_best_of_them_decides() -> None:
    found = line(
        phones=[pixel("A"), pixel("B")],
        states={"phone-C": state("phone-C", seen_at=AT)},
        holders={"phone-A": HOLDER},
    )
    assert (found.use, found.why) == (Use.READY, "3 devices: 1 ready, 1 busy, 1 missing")
    assert [device.resource for device in found.devices] == ["phone-A", "phone-B", "phone-C"]
    assert [device.serial for device in found.devices] == ["A", "B", None]


def test_all_desktop_profiles_are_one_machine() -> None:
    holder = Holder(resource="machine", owner="run 9")
    desktop = seen(holders={"machine": holder}).profiles[1]
    assert (desktop.use, desktop.why) == (Use.BUSY, "run 9")


def test_what_cannot_be_used_whatever_is_attached() -> None:
    profiles = [PROFILES["strix-halo"], PROFILES["desktop"]]
    blocked = {"strix-halo": ("spec sheet only", "predict"), "desktop": ("no browser", "install")}
    found = overview(profiles, Facts(NOW, blocked=blocked)).profiles
    assert [(each.use, each.why, each.next_step) for each in found] == [
        (Use.SPEC_SHEET, "spec sheet only", "predict"),
        (Use.UNUSABLE, "no browser", "install"),
    ]
    assert not any(each.usable for each in found)


def test_virtual_phones_need_not_be_attached() -> None:
    assert told(phones=[], emulated=True) == (Use.READY, "as a virtual phone")


@pytest.mark.parametrize("name", ["Some\x1b[2J Phone", ""])
def test_a_phone_of_no_profile(name: str) -> None:
    found = seen(phones=[Found("Z", {"ro.product.model": name})])
    (other,) = found.others
    assert (other.resource, other.use) == ("phone-Z", Use.UNUSABLE)
    assert other.why.endswith(": no profile describes it")
    assert "\x1b" not in other.why
    assert other.next_step == "tierlab profile capture Z"
