from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.android.adb import CommandTimeoutError, TransportLostError
from harness.devices.android.watch import (
    PhoneWatch,
    WatchLimits,
    figures_command,
    parse_figures,
    parse_ps,
)
from harness.evidence import Timeline
from results.record import Kind
from tests.harness.devices.android.scripted import ScriptedPhone

if TYPE_CHECKING:
    from tests.harness.devices.android.scripted import Answer

CHROME = ("com.android.chrome",)
SANDBOXED = (
    "com.android.chrome:sandboxed_process0:org.chromium.content.app.SandboxedProcessService0:"
)
PS = f"""    PID     RSS NAME
      1    9216 init
  10152  229000 com.android.chrome
  10300  118000 com.android.chrome:privileged_process0
  10400  700000 {SANDBOXED}0
  10401   90000 {SANDBOXED}1
  10500  500000 com.other.app
"""
FIGURES = """/proc/10152/status:VmHWM:\t  240000 kB
/proc/10152/status:VmRSS:\t  229000 kB
/proc/10152/status:VmSwap:\t    1000 kB
/proc/10152/stat:10152 (m.android.chrome) S 900 900 0 0 -1 4194624 1 0 2 0 150 50 0 0 10 -10 9 0 1
/proc/10400/status:VmHWM:\t  900000 kB
/proc/10400/status:VmRSS:\t  700000 kB
/proc/10400/stat:10400 (odd) name ) S 900 900 0 0 -1 4194624 1 0 2 0 1000 25 0 0 10 -10 9 0 1
/proc/10401/status:VmRSS:\t   90000 kB
"""


def thermal(status: int, celsius: float = 31.0) -> str:
    return (
        f"IsStatusOverride: false\nThermal Status: {status}\nCurrent temperatures from HAL:\n"
        f"\tTemperature{{mValue={celsius}, mType=3, mName=skin, mStatus={status}}}\n"
    )


def battery(level: int, *, powered: bool) -> str:
    return (
        "Current Battery Service state:\n  AC powered: false\n"
        f"  USB powered: {'true' if powered else 'false'}\n  Wireless powered: false\n"
        f"  status: {2 if powered else 3}\n  level: {level}\n  scale: 100\n  temperature: 291\n"
    )


def watched(script: dict[str, Answer], *looks: str) -> tuple[PhoneWatch, Timeline, ScriptedPhone]:
    phone, timeline = ScriptedPhone(script), Timeline()
    watch = PhoneWatch(phone.as_phone(), CHROME, timeline, WatchLimits())

    async def main() -> None:
        for look in looks:
            await getattr(watch, look)()

    asyncio.run(main())
    return watch, timeline, phone


def test_memory_by_process_with_the_kernels_own_peaks() -> None:
    watch, timeline, phone = watched({"ps": PS, "grep": FIGURES}, "look_at_processes")
    (sample,) = watch.curve
    assert sample.processes == {"browser": 229000 << 10, "renderer": 700000 << 10}
    assert watch.peaks() == {"browser": 240000 << 10, "renderer": 900000 << 10}
    assert watch.cpu_seconds() == pytest.approx(2.0 + 10.25)
    assert watch.role_of_pid(10400) == "renderer"
    assert watch.role_of_pid(10500) == ""
    assert timeline.items == ()  # that a process ends is told by others
    assert "10500" not in phone.asked[1]  # other apps are not looked at


def test_processes_are_listed_only_now_and_then() -> None:
    _, _, phone = watched({"ps": PS, "grep": FIGURES}, *["look_at_processes"] * 6)
    assert sum(asked.startswith("ps") for asked in phone.asked) == 2


def test_where_proc_is_closed_ps_tells() -> None:
    watch, _, _ = watched({"ps": PS, "grep": 2}, "look_at_processes")
    assert watch.peaks()["renderer"] == 700000 << 10
    assert watch.peaks()["gpu"] == 118000 << 10
    assert watch.cpu_seconds() is None


def test_cpu_time_of_processes_that_ended_stays() -> None:
    phone = ScriptedPhone({"ps": PS, "grep": FIGURES})
    watch = PhoneWatch(phone.as_phone(), CHROME, Timeline())

    async def main() -> None:
        await watch.look_at_processes()
        phone.script = {"ps": "", "grep": FIGURES.splitlines()[1]}
        await watch.look_at_processes()

    asyncio.run(main())
    assert watch.cpu_seconds() == pytest.approx(12.25)
    assert watch.role_of_pid(10400) == "renderer"  # its end may be told after it is gone
    assert len(watch.curve) == 2


def test_what_other_sources_say_of_processes() -> None:
    watch, _, _ = watched({})
    watch.note_start(f"Start proc 77:{SANDBOXED}2/u0i99 for {{com.android.chrome/x}}")
    watch.note_start("Start proc 78:com.other/u0a1 for service")
    watch.note_start("Start proc")
    assert watch.role_of_pid(77) == "renderer"
    assert watch.role_of_pid(78) == ""
    watch.note_peak("renderer", 5)
    watch.note_peak("renderer", 3)
    assert watch.peaks() == {"renderer": 5}


def test_each_change_of_the_thermal_status_is_noted_and_the_trial_goes_on() -> None:
    phone = ScriptedPhone({"dumpsys battery": battery(50, powered=True)})
    timeline = Timeline()
    watch = PhoneWatch(phone.as_phone(), CHROME, timeline)

    async def main() -> None:
        for status in (0, 0, 1, 1, 3, 0):
            phone.script["dumpsys thermalservice"] = thermal(status, 30 + status)
            await watch.look_at_heat()

    asyncio.run(main())
    assert [item.detail["status"] for item in timeline.items] == [1, 3, 0]
    assert {item.kind for item in timeline.items} == {Kind.THROTTLED}
    assert [heat.hottest_celsius for heat in watch.heat] == [30, 30, 31, 31, 33, 30]
    assert timeline.ending is None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ({"dumpsys thermalservice": thermal(4), "dumpsys battery": ""}, "too hot"),
        (
            {"dumpsys thermalservice": "", "dumpsys battery": battery(4, powered=False)},
            "the battery is at 4 %",
        ),
    ],
)
def test_what_ends_a_trial(script: dict[str, Answer], words: str) -> None:
    _, timeline, _ = watched(script, "look_at_heat", "look_at_heat")
    (ending,) = [item for item in timeline.items if item.kind is Kind.LAB_ERROR]
    assert words in ending.text("message")
    assert timeline.ending == ending


@pytest.mark.parametrize(
    "script",
    [
        {"dumpsys thermalservice": thermal(0), "dumpsys battery": battery(4, powered=True)},
        {"dumpsys thermalservice": CommandTimeoutError, "dumpsys battery": "garbage"},
        {},
    ],
)
def test_what_ends_none(script: dict[str, Answer]) -> None:
    _, timeline, _ = watched(script, "look_at_heat")
    assert timeline.items == ()


def test_a_lost_phone_ends_the_watch() -> None:
    phone = ScriptedPhone({"ps": TransportLostError, "dumpsys": ""})
    watch = PhoneWatch(phone.as_phone(), CHROME, Timeline())
    with pytest.raises(ExceptionGroup) as group:
        asyncio.run(watch.run())
    assert group.group_contains(TransportLostError)


def test_the_command_holds_numbers_only() -> None:
    assert figures_command([3, 1]).endswith(
        "/proc/1/status /proc/1/stat /proc/3/status /proc/3/stat"
    )


@given(
    st.text()
    | st.lists(st.sampled_from([*PS.splitlines(), *FIGURES.splitlines()]) | st.text()).map(
        "\n".join
    )
)
def test_never_raises(text: str) -> None:
    names: dict[int, Any] = {row.pid: row.name for row in parse_ps(text)}
    for item in parse_figures(text, names | {10152: "com.android.chrome"}):
        assert item.resident_bytes >= 0
