"""Chromium's command line for a phone: pure functions."""

from __future__ import annotations

import json
import math
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.devices.gpu import adapter_args
from harness.emulation.phone.android.profile_state import is_tablet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.state import Screen, State

FLAGS_FILE: Final = "/data/local/tmp/chrome-command-line"
_LARGEST_FLAGS_FILE: Final = 64 << 10
# Of what the flags file may not change: how this process reaches its browser, and what limits it.
_OURS: Final = (
    "--remote-debugging",
    "--user-data-dir",
    "--headless",
    "--enable-logging",
    "--log-file",
    "--crash-dumps-dir",
    "--utility-cmd-prefix",
    "--renderer-cmd-prefix",
    "--gpu-launcher",
    "--browser-subprocess-path",
    "--load-extension",
)
# What a desktop's window has beside its page, each a renderer of its own, and what calls home.
_NO_DESKTOP: Final = (
    "MediaRouter",
    "OptimizationHints",
    "Translate",
    "AimEnabled",
    "OmniboxAimPopup",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
    "WebUIOmniboxPopup",
)
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a mount, no file of ours
_MINIMUM_SHARED_MEMORY: Final = 1 << 30
#: What Chrome for Android reports at most and at least (`ApproximatedDeviceMemory`), GiB.
_DEVICE_MEMORY_RANGE: Final = (1.0, 8.0)


def read_flags(text: str) -> list[str]:
    """The flags of a `chrome-command-line` file: its first word is a name that nobody reads.

    What is not well-formed is ignored from there on, as Chrome's tokenizer does.
    """
    text = text[:_LARGEST_FLAGS_FILE].replace("\0", " ")
    try:
        words = shlex.split(text, comments=False, posix=True)
    except ValueError:
        words = text.split()
    return [word for word in words[1:] if word.startswith("--") and not word.startswith(_OURS)]


def user_agent(version: str, screen: Screen) -> str:
    """Chrome's reduced user agent on Android: no model, no release, only the major version."""
    major = version.split(".", maxsplit=1)[0] or "0"
    mobile = "" if is_tablet(screen) else " Mobile"
    return (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{major}.0.0.0{mobile} Safari/537.36"
    )


def css_size(screen: Screen) -> tuple[int, int]:
    """The screen in CSS pixels, rounded up as Chrome for Android does."""
    width, height = screen.size
    return math.ceil(width / screen.scale), math.ceil(height / screen.scale)


def device_memory(total_bytes: int) -> float:
    """What `navigator.deviceMemory` says: the nearest power of two in GiB, within bounds."""
    low, high = _DEVICE_MEMORY_RANGE
    gib = max(total_bytes / (1 << 30), 0.01)
    lower = 2.0 ** math.floor(math.log2(gib))
    nearest = lower if gib - lower < 2 * lower - gib else 2 * lower
    return min(max(nearest, low), high)


def heap_megabytes(total_bytes: int) -> int:
    """V8's heap limit on a 64-bit Android phone: half of the memory, at most 2 GiB.

    `Heap::HeapSizeFromPhysicalMemory` and `Heap::MaxOldGenerationSize` of V8; a desktop with more
    than 15 GiB, which Android never takes for one, gets 4 GiB.
    """
    return min(total_bytes >> 21, 2048)


def arguments(
    state: State,
    folder: Path,
    flags: Sequence[str],
    *,
    version: str,
    gpu: bool,
    sandbox: bool = True,
    shared_memory: Path = _SHARED_MEMORY,
) -> list[str]:
    """Chromium's arguments, without its path; the flags of the phone's file come last and win.

    `gpu` says whether the browser can reach a GPU of the host; without, one in software is shown.
    """
    width, height = css_size(state.screen)
    ours = [
        "--headless",
        "--remote-debugging-port=0",
        "--remote-allow-origins=*",
        f"--user-data-dir={folder}",
        f"--user-agent={user_agent(version, state.screen)}",
        f"--window-size={width},{height}",
        f"--force-device-scale-factor={state.screen.scale:.4f}",
        "--use-mobile-user-agent",
        "--touch-events=enabled",
        "--enable-viewport",
        "--hide-scrollbars",
        "--no-first-run",
        "--no-default-browser-check",
        "--disable-background-networking",
        "--disable-breakpad",
        "--disable-component-update",
        "--disable-quic",
        "--disable-sync",
        "--disable-default-apps",
        f"--disable-features={','.join(_NO_DESKTOP)}",
        "--password-store=basic",
        "--use-mock-keychain",
        "--mute-audio",
        "--enable-logging=stderr",
        "--enable-precise-memory-info",
        f"--js-flags=--max-old-space-size={heap_megabytes(state.memory_total)}",
    ]
    if not sandbox or os.geteuid() == 0:  # Chromium's own sandbox does not run as root
        ours.append("--no-sandbox")
    ours += adapter_args(tuple(flags), software=True, gpu=gpu)
    if not _has_room(shared_memory):
        ours.append("--disable-dev-shm-usage")
    return [*merged(ours, flags), "about:blank"]


def merged(ours: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Both lists of flags, where of a switch given twice the later stands.

    Chromium takes only the last of `--enable-features` and the like: their lists are joined.
    """
    result: dict[str, str | None] = {}
    for flag in (*ours, *flags):
        name, equals, value = flag.partition("=")
        if name in {"--enable-features", "--disable-features"} and result.get(name):
            value = f"{result[name]},{value}"
        result[name] = value if equals else None
    return [name if value is None else f"{name}={value}" for name, value in result.items()]


def _has_room(folder: Path) -> bool:
    try:
        stat = os.statvfs(folder)
    except OSError:
        return False
    return stat.f_bavail * stat.f_frsize >= _MINIMUM_SHARED_MEMORY


def identity(state: State, version: str) -> dict[str, object]:
    """`Emulation.setUserAgentOverride` for this phone."""
    major = version.split(".", maxsplit=1)[0] or "0"
    mobile = not is_tablet(state.screen)
    names = (
        ("Not:A-Brand", "8", "8.0.0.0"),
        ("Chromium", major, version),
        ("Google Chrome", major, version),
    )
    return {
        "userAgent": user_agent(version, state.screen),
        "platform": PLATFORM,
        "userAgentMetadata": {
            "brands": [{"brand": brand, "version": short} for brand, short, _ in names],
            "fullVersionList": [{"brand": brand, "version": full} for brand, _, full in names],
            "platform": "Android",
            "platformVersion": f"{state.release}.0.0",
            "architecture": "",
            "bitness": "",
            "model": state.properties.get("ro.product.model", "") if mobile else "",
            "mobile": mobile,
            "wow64": False,
        },
    }


PLATFORM: Final = "Linux armv81"


def navigator_script(total_bytes: int) -> str:
    """Defines what there is no protocol method for, in pages and in all kinds of workers.

    `onLine`, because a phone in a lab is online, and its virtual one has no network but adb's.
    """
    shown = {"deviceMemory": device_memory(total_bytes), "platform": PLATFORM, "onLine": True}
    return (
        "(() => { const p = (globalThis.Navigator ?? globalThis.WorkerNavigator)?.prototype;"
        f" for (const [name, value] of Object.entries({json.dumps(shown)}))"
        " if (p && name in p) Object.defineProperty(p, name,"
        " {get() { return value; }, configurable: true, enumerable: true}); })()"
    )
