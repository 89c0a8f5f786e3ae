"""A phone that answers from a table, with somebody's secrets all over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from harness.devices.android.facts.cpu import FREQUENCIES_COMMAND
from harness.devices.android.facts.properties import parse_properties
from harness.devices.android.failures import CommandTimeoutError, TransportLostError
from harness.devices.android.phone import Output, Phone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SERIAL = "2B181FDH2000VD"
SECRETS = (
    SERIAL, "352099001761481", "352099001761499", "89490200001234567890", "262021234567890",
    "c0ffee1234567890", "Anna", "anna.smith", "anna.smith@example.com", "Smith family",
    "aa:bb:cc:dd:ee:0f", "aabbccddee0f", "192.168.178.23", "2001:db8:85a3::8a2e:370:7334",
    "2f1c9f5e-5d3c-4f0a-9f0e-1b2c3d4e5f60", "com.bank.secret", "org.dating.app", "Big Carrier",
    "+49 171 5550123", "52.520008, 13.404954", "annas-pixel",
)  # fmt: skip

PROPERTIES = f"""\
[bluetooth.device.default_name]: [Pixel 7]
[dalvik.vm.heapsize]: [512m]
[dhcp.wlan0.ipaddress]: [192.168.178.23]
[gsm.operator.alpha]: [Big Carrier,]
[net.hostname]: [annas-pixel]
[persist.radio.imei]: [352099001761481,352099001761499]
[ro.board.platform]: [gs201]
[ro.boot.serialno]: [{SERIAL}]
[ro.boot.wifimacaddr]: [AA:BB:CC:DD:EE:0F]
[ro.build.fingerprint]: [google/panther/panther:15/BP1A.250505.005.B1/13277630:user/release-keys]
[ro.build.version.release]: [15]
[ro.build.version.sdk]: [35]
[ro.build.version.security_patch]: [2025-05-05]
[ro.hardware]: [panther]
[ro.hardware.vulkan]: [mali]
[ro.product.brand]: [google]
[ro.product.device]: [panther]
[ro.product.manufacturer]: [Google]
[ro.product.model]: [Pixel 7]
[ro.product.name]: [panther]
[ro.serialno]: [{SERIAL}]
[ro.soc.manufacturer]: [Google]
[ro.soc.model]: [GS201]
"""

BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Dock powered: false
  Max charging current: 500000
  Charge counter: 3655000
  status: 2
  health: 2
  present: true
  level: 87
  scale: 100
  voltage: 4251
  temperature: 291
  technology: Li-ion
  battery serial: 2B181FDH2000VD
Vendor section of Anna:
  level: 86
  temperature: 290
"""

THERMAL = """\
IsStatusOverride: false
Thermal Status: 1
Cached temperatures:
	Temperature{mValue=34.200000762939453, mType=3, mName=VIRTUAL-SKIN, mStatus=1}
	Temperature{mValue=41.0, mType=0, mName=BIG, mStatus=0}
HAL Ready: true
"""

MEMINFO = """\
MemTotal:        7759364 kB
MemFree:          262144 kB
MemAvailable:    3102344 kB
SwapTotal:       3145724 kB
SwapFree:        2145724 kB
"""

ANSWERS: Mapping[str, str] = {
    "getprop": PROPERTIES,
    "settings get secure android_id": "c0ffee1234567890\n",
    "settings get secure bluetooth_name": "Anna's Pixel 7\n",
    "settings get secure bluetooth_address": "AA:BB:CC:DD:EE:0F\n",
    "settings get global device_name": "Anna\N{RIGHT SINGLE QUOTATION MARK}s Pixel 7\n",
    "dumpsys account": "Accounts: 1\n  Account {name=anna.smith@example.com, type=com.google}\n",
    "pm list users": "Users:\n\tUserInfo{0:Anna:c13} running\n",
    "pm list packages -3": "package:com.bank.secret\npackage:org.dating.app\n"
    "package:com.android.chrome\n",
    "cmd wifi status": 'Wifi is enabled\nWifi is connected to "Smith family"\n',
    "ip addr": "    link/ether aa:bb:cc:dd:ee:0f brd ff:ff:ff:ff:ff:ff\n"
    "    inet 192.168.178.23/24 scope global wlan0\n"
    "    inet6 2001:db8:85a3::8a2e:370:7334/64 scope global\n",
    "cat /proc/sys/kernel/random/boot_id": "2f1c9f5e-5d3c-4f0a-9f0e-1b2c3d4e5f60\n",
    "dumpsys battery": BATTERY,
    "dumpsys thermalservice": THERMAL,
    "dumpsys SurfaceFlinger": "Layers of com.bank.secret\n"
    "GLES: ARM, Mali-G710, OpenGL ES 3.2 v1.r38p1-01eac0\nSSID: Smith family\n",
    "pm list features": "feature:android.hardware.vulkan.version=4206592\n"
    "feature:com.bank.secret.feature\n",
    "wm size": "Physical size: 1080x2400\nOverride size: 720x1600\n",
    "wm density": "Physical density: 420\n",
    "dumpsys power": "POWER MANAGER (dumpsys power)\n  mWakefulness=Awake\n  Anna mUid=10\n",
    "dumpsys window policy": "  KeyguardServiceDelegate\n    showing=false\n"
    "  mFocus=com.bank.secret\n",
    "dumpsys package com.android.chrome": "Packages:\n  Package [com.android.chrome] (1a2b):\n"
    "    versionCode=642213323 minSdk=29\n    versionName=131.0.6778.135\n"
    "  Queries: com.bank.secret\n",
    "dumpsys webviewupdate": "Current WebView package (name, version): "
    "(com.google.android.webview, 131.0.6778.135)\n",
    "dumpsys meminfo com.android.chrome": "No process found for: com.android.chrome\n",
    "dumpsys activity exit-info com.android.chrome": "ACTIVITY MANAGER PROCESS EXIT INFO\n"
    "  description=killed by org.dating.app of anna.smith@example.com\n",
    "cat /proc/meminfo": MEMINFO,
    "cat /proc/cpuinfo": "".join(
        f"processor\t: {n}\nCPU implementer\t: 0x41\nCPU part\t: 0xd05\n\n" for n in range(8)
    )
    + f"Hardware\t: GS201\nSerial\t\t: {SERIAL}\n",
    FREQUENCIES_COMMAND: "cpu0 1803000 1803000\ncpu7 2850000 2850000\n",
    "df -k /data": "Filesystem 1K-blocks Used Available Use% Mounted on\n"
    "/dev/block/dm-53 115248128 61234567 54013561 54% /data\n",
}


class TablePhone:
    """Answers from a table; other commands fail as a shell's do.

    Args:
        answers: what is different from `ANSWERS`; None: the command never ends.
        lost_after: how many commands it takes until the transport is lost.
    """

    serial = SERIAL

    def __init__(
        self, answers: Mapping[str, str | None] | None = None, *, lost_after: int | None = None
    ) -> None:
        self._answers = {**ANSWERS, **(answers or {})}
        self._left = lost_after
        self.asked: list[str] = []

    async def run(
        self,
        command: str | Sequence[str],
        *,
        within: float = 20.0,
        check: bool = True,  # noqa: ARG002 - what fails here fails with a code
    ) -> Output:
        line = command if isinstance(command, str) else " ".join(command)
        self.asked.append(line)
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise TransportLostError("the connection to the phone is gone")
        if line not in self._answers:
            return Output(
                "", 127, f"/system/bin/sh: {line.split()[0]}: inaccessible or not found\n"
            )
        text = self._answers[line]
        if text is None:
            raise CommandTimeoutError(line, within)
        return Output(text, 0)

    async def properties(self) -> dict[str, str]:
        return parse_properties((await self.run(["getprop"])).text)


def table_phone(
    answers: Mapping[str, str | None] | None = None, *, lost_after: int | None = None
) -> Phone:
    return cast("Phone", TablePhone(answers, lost_after=lost_after))
