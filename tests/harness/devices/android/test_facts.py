"""All facts of a phone at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.devices.android.adb import CommandError, TransportLostError
from harness.devices.android.facts import PhoneFacts, read_facts, read_vulkan_devices
from tests.harness.devices.android.server import SERIAL, FakeServer, play

if TYPE_CHECKING:
    from harness.devices.android.adb import Adb

DATA = Path(__file__).parent / "facts" / "data"
CHROME = "com.android.chrome"
PHONE = f"""
cat() {{
  case $1 in
    /proc/meminfo) command cat {DATA}/proc-meminfo.txt ;;
    /proc/cpuinfo) command cat {DATA}/cpuinfo-tensor.txt ;;
    *) return 1 ;;
  esac
}}
getprop() {{ printf '[%s]: [%s]\\n' ro.build.version.release 15 ro.build.version.sdk 35 \
  ro.product.model 'Pixel 6' ro.soc.manufacturer Google ro.soc.model GS101 ro.boot.qemu 0; }}
dumpsys() {{
  case $1 in
    battery) command cat {DATA}/battery-s24.txt ;;
    thermalservice) command cat {DATA}/thermal-pixel6.txt ;;
    package) command cat {DATA}/package-chrome.txt ;;
    webviewupdate) command cat {DATA}/webviewupdate.txt ;;
    window) command cat {DATA}/window-policy.txt ;;
    SurfaceFlinger) echo 'GLES: ARM, Mali-G78, OpenGL ES 3.2 v1.r34p0' ;;
    *) echo "Can't find service: $1"; return 20 ;;
  esac
}}
pm() {{ echo 'feature:android.hardware.vulkan.version=4206592'; }}
df() {{ echo 'df: /data: Permission denied' >&2; return 1; }}
stat() {{ echo '28153544 20417572 4096'; }}
cmd() {{ command cat {DATA}/vkjson.json; }}
"""


def facts_of(root: Path, prelude: str) -> PhoneFacts:
    found: list[PhoneFacts] = []

    async def body(_: FakeServer, adb: Adb) -> None:
        found.append(await read_facts(adb.phone(SERIAL), CHROME))

    play(root, body, prelude=prelude)
    return found[0]


def test_everything_that_a_phone_tells(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, PHONE)
    assert (facts.release, facts.api, facts.model) == ("15", 35, "Pixel 6")
    assert (facts.soc, facts.cores, facts.gpu) == ("Google GS101", 8, "Mali-G78")
    assert (facts.vulkan, facts.memory_bytes) == ("1.3.0", 7759416 << 10)
    assert facts.storage_free_bytes == 20417572 * 4096  # by stat, where df may not
    assert (facts.chrome_version, facts.webview_version) == ("144.0.7339.81", "138.0.7204.179")
    assert facts.battery is not None
    assert facts.thermal is not None
    assert facts.unlocked
    assert not facts.emulated
    # What it does not tell is not known, with its reason.
    assert facts.screen_on is None
    assert facts.missing["screen_on"].endswith("it said: Can't find service: power")
    assert facts.missing["fingerprint"] == "no property ro.build.fingerprint"
    assert "storage" not in facts.missing


def test_a_phone_that_tells_nothing_gives_reasons_only(tmp_path: Path) -> None:
    silent = "\n".join(
        f"{name}() {{ return 1; }}" for name in ("cat", "getprop", "dumpsys", "pm", "df", "stat")
    )
    facts = facts_of(tmp_path, silent)
    assert facts.cpu is None or facts.cpu.cores  # the cores of this machine, if any
    known = {"missing", "emulated", "cpu", "gles", "memory", "storage", "webview_package"}
    for name in set(PhoneFacts.__dataclass_fields__) - known:
        assert getattr(facts, name) is None
    for name in ("release", "battery", "thermal", "storage", "available_bytes", "chrome_version"):
        assert facts.missing[name]


def test_garbage_from_everywhere_is_no_fact(tmp_path: Path) -> None:
    garbage = "head -c 20000 /dev/urandom"
    noisy = "\n".join(
        f"{name}() {{ {garbage}; }}" for name in ("cat", "getprop", "dumpsys", "pm", "df", "stat")
    )
    facts = facts_of(tmp_path, noisy)
    assert facts.battery is None
    assert facts.missing["battery"] == "not in the output of dumpsys battery"


def test_a_phone_that_is_lost_meanwhile(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        await phone.features()
        fake.unplug("offline")
        with pytest.raises(TransportLostError):
            await read_facts(phone, CHROME)

    play(tmp_path, body, prelude=PHONE)


def test_a_package_s_name_is_never_a_shell_s_word(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        with pytest.raises(ValueError, match="no name of a package"):
            await read_facts(adb.phone(SERIAL), "com.x; reboot")
        assert fake.requests == []

    play(tmp_path, body)


def test_vulkan_s_devices_are_asked_for_on_demand(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        await read_facts(phone, CHROME)
        assert not any("vkjson" in request for request in fake.requests)
        assert [device.name for device in await read_vulkan_devices(phone)] == ["Mali-G710"]
        fake.prelude = 'cmd() { echo "cmd: Can\'t find service: gpu" >&2; return 20; }'
        with pytest.raises(CommandError, match="find service: gpu"):
            await read_vulkan_devices(phone)

    play(tmp_path, body, prelude=PHONE)
