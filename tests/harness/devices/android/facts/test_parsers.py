"""Every parser on what phones printed, and on anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.devices.android.facts.battery import Battery, parse_battery
from harness.devices.android.facts.cpu import parse_cpu
from harness.devices.android.facts.gpu import (
    Gles,
    VulkanDevice,
    api_version,
    parse_gles,
    parse_vkjson,
    parse_vulkan_feature,
)
from harness.devices.android.facts.memory import (
    Memory,
    ProcessMemory,
    parse_meminfo,
    parse_process_memory,
)
from harness.devices.android.facts.packages import (
    Package,
    is_package_name,
    major_version,
    parse_package,
    parse_webview,
)
from harness.devices.android.facts.properties import parse_properties
from harness.devices.android.facts.screen import parse_screen_on, parse_unlocked
from harness.devices.android.facts.storage import Storage, parse_df, parse_stat
from harness.devices.android.facts.text import clean, whole
from harness.devices.android.facts.thermal import parse_thermal, status_name

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parent / "data"
CHROME = "com.android.chrome"
KIB = 1024


def sample(name: str) -> str:
    return (DATA / name).read_text("utf-8")


PARSERS: dict[str, Callable[[str], object]] = {
    "battery": parse_battery,
    "cpu": lambda text: parse_cpu(text, text),
    "df": parse_df,
    "gles": parse_gles,
    "meminfo": parse_meminfo,
    "package": lambda text: parse_package(text, CHROME),
    "process memory": parse_process_memory,
    "properties": parse_properties,
    "screen": parse_screen_on,
    "stat": lambda text: parse_stat(text, "/data"),
    "thermal": parse_thermal,
    "unlocked": parse_unlocked,
    "vkjson": parse_vkjson,
    "vulkan feature": parse_vulkan_feature,
    "webview": parse_webview,
}
SAMPLES = sorted(path.name for path in DATA.iterdir() if path.suffix != ".md")


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A sample with pieces cut out, doubled, and garbage in between."""
    text = sample(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        kind = draw(st.sampled_from(["cut", "twice", "garbage", "digits"]))
        middle = {
            "cut": "",
            "twice": text[start:end] * 2,
            "garbage": draw(st.text(max_size=20)),
            "digits": "9" * draw(st.integers(1, 5000)),
        }[kind]
        text = text[:start] + middle + text[end:]
    return text


@pytest.mark.parametrize("name", PARSERS)
@settings(deadline=None)
@given(text=st.one_of(st.text(), damaged()))
@example(text="²")  # a digit to `isdigit`, and no number to `int`
@example(text="{" * 100_000)
def test_no_text_makes_a_parser_raise(name: str, text: str) -> None:
    PARSERS[name](text)


@pytest.mark.parametrize("name", PARSERS)
def test_nothing_is_known_from_nothing(name: str) -> None:
    for text in ("", "\n", "Can't find service: x\n", "cat: /proc/x: Permission denied\n"):
        assert not PARSERS[name](text)


def test_battery() -> None:
    assert parse_battery(sample("battery-s24.txt")) == Battery(
        75.0, 35.7, "charging", ("ac",), faked=False
    )
    assert parse_battery(sample("battery-android16.txt")) == Battery(
        100.0, 25.0, "not charging", (), faked=False
    )
    assert parse_battery(sample("battery-by-hand.txt")) == Battery(
        60.0, 27.4, "discharging", (), faked=True
    )


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("level: -1", "percent"),
        ("level: 101", "percent"),
        ("level: high", "percent"),
        ("temperature: -999999", "celsius"),
        ("temperature: 9999", "celsius"),
        ("status: 9", "status"),
    ],
)
def test_a_broken_sensor_is_not_a_value(row: str, field: str) -> None:
    battery = parse_battery(f"Current Battery Service state:\n  {row}\n")
    assert battery is not None
    assert getattr(battery, field) is None
    assert battery.sources is None


def test_a_battery_of_another_scale() -> None:
    battery = parse_battery("Current Battery Service state:\n  level: 128\n  scale: 256\n")
    assert battery is not None
    assert battery.percent == 50


def test_thermal_of_a_phone_that_tells_everything() -> None:
    thermal = parse_thermal(sample("thermal-pixel6.txt"))
    assert thermal is not None
    assert (thermal.status, thermal.overridden, thermal.stale) == (0, False, False)
    assert thermal.has_thresholds
    assert thermal.hottest("skin") == 24.83324
    assert thermal.hottest("cpu") == 27.000002  # and not the 61 degrees of the cached ones
    assert thermal.hottest("npu") == 25.000002
    # Millivolts, milliamperes and percentages stand in the same list.
    assert {t.name for t in thermal.temperatures}.isdisjoint({"soft_ocp_gpu", "vdroop1", "soc"})


def test_thermal_of_a_phone_whose_status_means_nothing() -> None:
    thermal = parse_thermal(sample("thermal-s10e.txt"))
    assert thermal is not None
    assert (thermal.status, thermal.has_thresholds, thermal.stale) == (0, False, True)
    assert thermal.hottest("cpu") == 50.2


def test_a_thermal_status_that_was_set_by_hand() -> None:
    thermal = parse_thermal("IsStatusOverride: true\nThermal Status: 3\n")
    assert thermal is not None
    assert (thermal.status, thermal.overridden, thermal.has_thresholds) == (3, True, None)
    assert status_name(3) == "severe"


def test_memory() -> None:
    assert parse_meminfo(sample("proc-meminfo.txt")) == Memory(
        7759416 * KIB, 3563892 * KIB, 3879704 * KIB, 2586472 * KIB
    )
    assert parse_meminfo("MemTotal: 1 kB\n") == Memory(KIB, None, None, None)


def test_memory_of_an_app_s_processes() -> None:
    new = parse_process_memory(sample("meminfo-android12.txt"))
    renderer = f"{CHROME}:sandboxed_process0:org.chromium.content.app.SandboxedProcessService0:0"
    assert new == [
        ProcessMemory(8123, CHROME, 39321 * KIB, 124676 * KIB, 545 * KIB),
        ProcessMemory(8201, renderer, 939321 * KIB, 1024676 * KIB, 0),
    ]
    assert parse_process_memory(sample("meminfo-android9.txt")) == [
        ProcessMemory(23844, CHROME, 174545 * KIB, None, 303 * KIB)
    ]
    assert parse_process_memory(sample("meminfo-android5.txt")) == [
        ProcessMemory(8118, CHROME, 86114 * KIB, None, None)
    ]
    assert parse_process_memory("No process found for: com.android.chrome\n") == []


def test_cpu() -> None:
    cpu = parse_cpu(sample("cpuinfo-tensor.txt"), sample("frequencies-tensor.txt"))
    assert cpu is not None
    assert cpu.summary() == (
        "1x Cortex-X1 2.80 GHz + 2x Cortex-A78 2.25 GHz + 4x Cortex-A55 1.80 GHz + 1x Cortex-X1"
    )
    assert cpu.cores[6].allowed_khz == 2450000
    assert "asimddp" in cpu.features
    assert "ssbs" not in cpu.features  # not all cores have it
    unnamed = parse_cpu("processor : 0\nCPU implementer : 0x61\nCPU part : 0x022\n")
    assert unnamed is not None
    assert unnamed.summary() == "1x core"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "GLES: ARM, Mali-G78, OpenGL ES 3.2 v1.r34p0-01eac0.a1b116bd871d46ef040e8feef9ed691e",
            Gles(
                "ARM",
                "Mali-G78",
                "OpenGL ES 3.2 v1.r34p0-01eac0.a1b116bd871d46ef040e8feef9ed691e",
            ),
        ),
        (
            "GLES: Qualcomm, Adreno (TM) 618, OpenGL ES 3.2 V@415.0 (GIT@663be55, I724753c5e3)",
            Gles("Qualcomm", "Adreno (TM) 618", "OpenGL ES 3.2 V@415.0 (GIT@663be55, I724753c5e3)"),
        ),
        ("GLES: Mali-G76 MC4", Gles(None, "Mali-G76 MC4", None)),
    ],
)
def test_gles(line: str, expected: Gles) -> None:
    assert parse_gles(f"Build configuration: x\n{line}\n EGL extensions:\n") == expected


def test_vulkan() -> None:
    assert parse_vkjson(sample("vkjson.json")) == [
        VulkanDevice("Mali-G710", "1.3.252", "Mali-G710 v1.r44p1-00bet0")
    ]
    features = "feature:android.hardware.vulkan.level=1\nfeature:android.hardware.vulkan.version="
    assert parse_vulkan_feature(f"{features}4206592\n") == "1.3.0"
    assert api_version(4194307) == "1.0.3"


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["devices", "properties", "deviceName", "apiVersion", "core12"]),
                inner,
            )
        ),
    )
)
def test_any_json_is_no_vulkan_or_one_with_a_name(found: Any) -> None:
    for device in parse_vkjson(json.dumps({"devices": found})):
        assert device.name


@pytest.mark.parametrize(
    "row",
    [
        "/dev/block/dm-45 112614176 30812816 81670288  28% /data",
        "/dev/block/by-name/userdata\n     112614176 30812816  81670288  28% /data/user/0",
    ],
)
def test_storage(row: str) -> None:
    found = parse_df(f"Filesystem     1K-blocks     Used Available Use% Mounted on\n{row}\n")
    assert found == Storage(row.rsplit(maxsplit=1)[-1], 112614176 * KIB, 81670288 * KIB)


def test_storage_of_other_forms() -> None:
    # The toolbox of Android 5 rounds: no numbers to decide by.
    assert (
        parse_df("Filesystem   Size   Used   Free   Blksize\n/data   12.0G  3.1G  8.9G  4096\n")
        is None
    )
    assert parse_stat("28153544 20417572 4096\n", "/data") == Storage(
        "/data", 28153544 * 4096, 20417572 * 4096
    )
    overfull = parse_df("x 100 120 -20 100% /data\n")
    assert overfull is not None
    assert overfull.free_bytes == 0


def test_the_version_in_use_and_not_the_one_that_was_built_in() -> None:
    assert parse_package(sample("package-chrome.txt"), CHROME) == Package(
        CHROME, "144.0.7339.81", 733908133
    )
    assert parse_package("Unable to find package: com.android.chrome\n", CHROME) is None
    assert parse_webview(sample("webviewupdate.txt")) == Package(
        "com.google.android.webview", "138.0.7204.179", None
    )
    assert parse_webview("  Current WebView package is null\n") is None
    assert major_version("144.0.7339.81") == 144
    assert major_version("canary") is None


@pytest.mark.parametrize("name", ["chrome", "a.b; reboot", "a..b", "", "-a.b", "a.b\n"])
def test_what_is_no_package_never_reaches_a_shell(name: str) -> None:
    assert not is_package_name(name)


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("Power Manager State:\n  mWakefulness=Awake\n", True),
        ("Power Manager State:\n  mWakefulness=Asleep\n", False),
        ("  mWakefulnessRaw=Dozing\n", False),
        ("  mHoldingDisplaySuspendBlocker=true\n", None),
    ],
)
def test_screen(text: str, *, on: bool | None) -> None:
    assert parse_screen_on(text) is on


def test_lock_screen() -> None:
    policy = sample("window-policy.txt")
    assert parse_unlocked(policy) is True
    assert parse_unlocked(policy.replace("  showing=false", "  showing=true")) is False
    assert parse_unlocked("mShowingLockscreen=true mShowingDream=false") is False
    assert parse_unlocked("Overlay showing=true\n") is None


def test_properties() -> None:
    text = (
        "[ro.product.model]: [Pixel 7]\r\n"
        "[a.b]: [first line\nsecond line]\n"
        "[brackets]: [[x], [y]]\n"
        "[empty]: []\n"
        "nonsense\n"
        "[last]: [1]\n"
    )
    assert parse_properties(text) == {
        "ro.product.model": "Pixel 7",
        "a.b": "first line\nsecond line",
        "brackets": "[x], [y]",
        "empty": "",
        "last": "1",
    }


@settings(deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9._]{0,20}", fullmatch=True),
        st.text(st.characters(codec="ascii", exclude_characters="[]\r\n"), max_size=92),
    )
)
def test_properties_are_what_getprop_lists(properties: dict[str, str]) -> None:
    text = "".join(f"[{key}]: [{value}]\n" for key, value in properties.items())
    assert parse_properties(text) == properties


@settings(deadline=None)
@given(st.text())
def test_a_clean_text_is_one_short_printable_line(text: str) -> None:
    found = clean(text)
    assert found is None or (found.isprintable() and 0 < len(found) <= 200)


@pytest.mark.parametrize("text", ["-1", "1.5", "²", "٣", "", "9" * 30, None])
def test_what_is_no_whole_number(text: str | None) -> None:
    assert whole(text) is None
