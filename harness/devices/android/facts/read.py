"""All facts of a phone, asked for side by side."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from harness.devices.android.facts.battery import Battery, parse_battery
from harness.devices.android.facts.cpu import FREQUENCIES_COMMAND, Cpu, parse_cpu
from harness.devices.android.facts.gpu import (
    Gles,
    VulkanDevice,
    parse_gles,
    parse_vkjson,
    parse_vulkan_feature,
)
from harness.devices.android.facts.memory import Memory, parse_meminfo
from harness.devices.android.facts.packages import (
    Package,
    is_package_name,
    parse_package,
    parse_webview,
)
from harness.devices.android.facts.properties import is_emulated, parse_properties
from harness.devices.android.facts.screen import parse_screen_on, parse_unlocked
from harness.devices.android.facts.storage import Storage, parse_df, parse_stat
from harness.devices.android.facts.text import clean, whole
from harness.devices.android.facts.thermal import Thermal, parse_thermal
from harness.devices.android.failures import (
    CommandError,
    CommandTimeoutError,
    TransportLostError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.devices.android.phone import Phone

T = TypeVar("T")

FACT_SECONDS: Final = 20.0
DATA: Final = "/data"


@dataclass(frozen=True, slots=True)
class PhoneFacts:
    """A phone at one moment. None is not known; `missing` says why, by the fact's name.

    Attributes:
        release: of Android, such as `15`.
        api: its API level.
        fingerprint: of the build.
        cores: how many the phone has on.
        gpu: the renderer's name.
        vulkan: the version that the system declares.
        vulkan_driver: the name of the driver's library, of `ro.hardware.vulkan`.
        memory_bytes: what the kernel has; less than is sold.
        available_bytes: what may be had without swapping much.
        storage_free_bytes: of `/data`, where apps and pushed files live.
        emulated: it is a virtual phone or an emulator: none of its figures are a device's own.
    """

    release: str | None = None
    api: int | None = None
    fingerprint: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    soc: str | None = None
    abi: str | None = None
    cpu: Cpu | None = None
    gpu: str | None = None
    gles: Gles | None = None
    vulkan: str | None = None
    vulkan_driver: str | None = None
    memory_bytes: int | None = None
    available_bytes: int | None = None
    memory: Memory | None = None
    storage_free_bytes: int | None = None
    storage: Storage | None = None
    battery: Battery | None = None
    thermal: Thermal | None = None
    screen_on: bool | None = None
    unlocked: bool | None = None
    chrome_version: str | None = None
    webview_package: str | None = None
    webview_version: str | None = None
    emulated: bool = False
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def cores(self) -> int | None:
        """How many cores are on."""
        return len(self.cpu.cores) if self.cpu else None


class _Reader:
    """Asks, and notes why what is missing is missing."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self.missing: dict[str, str] = {}

    async def text(self, fact: str, command: str | Sequence[str]) -> str:
        """What a command says; nothing where it fails, with its reason noted."""
        try:
            return (await self._phone.run(command, within=FACT_SECONDS)).text
        except (CommandError, CommandTimeoutError) as error:
            self.missing[fact] = clean(str(error)) or "it failed"
            return ""

    async def parsed(
        self, fact: str, command: str | Sequence[str], parse: Callable[[str], T | None]
    ) -> T | None:
        """What `parse` makes of a command's output."""
        text = await self.text(fact, command)
        return self.known(fact, parse(text), f"not in the output of {_name(command)}")

    def known(self, fact: str, value: T | None, reason: str) -> T | None:
        """`value`; where it is None the reason is noted, unless there is one already."""
        if value is None:
            self.missing.setdefault(fact, reason)
        return value


async def read_facts(phone: Phone, package: str) -> PhoneFacts:
    """Everything that can be known of the phone and its browser.

    Args:
        phone: the phone.
        package: of the browser.

    Raises:
        TransportLostError: the phone is gone.
        ValueError: `package` is no name of a package.
    """
    if not is_package_name(package):
        raise ValueError(f"{package!r} is no name of a package")
    reader = _Reader(phone)
    try:
        async with asyncio.TaskGroup() as group:
            start = group.create_task
            properties_ = start(reader.text("properties", ["getprop"]))
            cpu_ = start(_cpu(reader))
            gles_ = start(reader.parsed("gpu", ["dumpsys", "SurfaceFlinger"], parse_gles))
            vulkan_ = start(
                reader.parsed("vulkan", ["pm", "list", "features"], parse_vulkan_feature)
            )
            memory_ = start(reader.parsed("memory", ["cat", "/proc/meminfo"], parse_meminfo))
            storage_ = start(_storage(reader))
            battery_ = start(reader.parsed("battery", ["dumpsys", "battery"], parse_battery))
            thermal_ = start(reader.parsed("thermal", ["dumpsys", "thermalservice"], parse_thermal))
            power_ = start(reader.parsed("screen_on", ["dumpsys", "power"], parse_screen_on))
            policy_ = start(
                reader.parsed("unlocked", ["dumpsys", "window", "policy"], parse_unlocked)
            )
            chrome_ = start(
                reader.parsed(
                    "chrome_version",
                    ["dumpsys", "package", package],
                    lambda text: parse_package(text, package),
                )
            )
            webview_ = start(
                reader.parsed("webview_version", ["dumpsys", "webviewupdate"], parse_webview)
            )
    except BaseExceptionGroup as failed:
        lost = failed.subgroup(TransportLostError)
        if lost is None:
            raise
        raise TransportLostError("the phone was lost while it was asked for its facts") from lost
    properties = parse_properties(properties_.result())
    gles, memory, storage = gles_.result(), memory_.result(), storage_.result()
    chrome, webview = chrome_.result(), webview_.result()

    def named(fact: str, *keys: str) -> str | None:
        value = next((found for key in keys if (found := clean(properties.get(key)))), None)
        return reader.known(fact, value, f"no property {keys[0]}")

    return PhoneFacts(
        release=named("release", "ro.build.version.release"),
        api=reader.known(
            "api",
            whole(properties.get("ro.build.version.sdk"), most=10_000),
            "no property ro.build.version.sdk",
        ),
        fingerprint=named("fingerprint", "ro.build.fingerprint", "ro.system.build.fingerprint"),
        manufacturer=named("manufacturer", "ro.product.manufacturer"),
        model=named("model", "ro.product.model"),
        soc=_soc(reader, properties),
        abi=named("abi", "ro.product.cpu.abi"),
        cpu=cpu_.result(),
        gpu=gles.renderer if gles else None,
        gles=gles,
        vulkan=vulkan_.result(),
        vulkan_driver=named("vulkan_driver", "ro.hardware.vulkan"),
        memory_bytes=memory.total_bytes if memory else None,
        available_bytes=reader.known(
            "available_bytes",
            memory.available_bytes if memory else None,
            "no MemAvailable in /proc/meminfo",
        ),
        memory=memory,
        storage_free_bytes=storage.free_bytes if storage else None,
        storage=storage,
        battery=battery_.result(),
        thermal=thermal_.result(),
        screen_on=power_.result(),
        unlocked=policy_.result(),
        chrome_version=_version(chrome),
        webview_package=webview.name if webview else None,
        webview_version=_version(webview),
        emulated=is_emulated(properties),
        missing=dict(sorted(reader.missing.items())),
    )


async def read_vulkan_devices(phone: Phone) -> list[VulkanDevice]:
    """The Vulkan devices and drivers of `cmd gpu vkjson`, for who asks for them.

    `read_facts` does not: the command loads the driver into a system service, and is known to have
    taken a whole device down.

    Raises:
        TransportLostError: the phone is gone.
        CommandError: it does not know the command.
        CommandTimeoutError: it did not answer.
    """
    return parse_vkjson((await phone.run(["cmd", "gpu", "vkjson"], within=FACT_SECONDS)).text)


async def _cpu(reader: _Reader) -> Cpu | None:
    cpuinfo = await reader.text("cpu", ["cat", "/proc/cpuinfo"])
    frequencies = await reader.text("cpu_frequencies", FREQUENCIES_COMMAND)
    return reader.known("cpu", parse_cpu(cpuinfo, frequencies), "no core in /proc/cpuinfo")


async def _storage(reader: _Reader) -> Storage | None:
    storage = parse_df(await reader.text("storage", ["df", "-k", DATA]))
    if storage is None:
        text = await reader.text("storage", ["stat", "-f", "-c", "%b %a %S", DATA])
        storage = parse_stat(text, DATA)
        if storage:
            reader.missing.pop("storage", None)
    return reader.known("storage", storage, f"neither df nor stat tell of {DATA}")


def _soc(reader: _Reader, properties: Mapping[str, str]) -> str | None:
    """Maker and model of the chip (Android 12 and later), or the platform's name."""
    words = (properties.get("ro.soc.manufacturer"), properties.get("ro.soc.model"))
    known = [word for word in words if word and word.lower() != "unknown"]
    name = clean(" ".join(known)) or clean(properties.get("ro.board.platform"))
    return reader.known("soc", name, "no property ro.soc.model or ro.board.platform")


def _version(package: Package | None) -> str | None:
    return package.version if package else None


def _name(command: str | Sequence[str]) -> str:
    return command if isinstance(command, str) else " ".join(command)
