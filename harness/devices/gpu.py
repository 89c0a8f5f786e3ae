"""Whether this machine has a GPU, and the flags by which a browser finds it, or one in software."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

# Chromium offers WebGPU on a GPU in software only when it is told to.
SOFTWARE_ADAPTER_ARGS: Final = (
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
)

# On Linux a Chromium without a screen finds a GPU by these only (NVIDIA H200, driver 580, Chromium
# 156). Without the second and third there is no adapter, or the one in software; without the first
# the one in software. None of them makes anything available that the browser holds back.
VULKAN_ADAPTER_ARGS: Final = (
    "--enable-features=Vulkan",
    "--use-angle=vulkan",
    "--disable-vulkan-surface",
)
# A profile that says one of these has chosen its GPU itself.
_CHOICES: Final = ("--use-angle", "--use-gl", "--use-webgpu-adapter", "--disable-gpu")

# Longest name of a GPU that is kept.
_NAME_CHARACTERS: Final = 200

# Render nodes of the kernel's drivers, NVIDIA's own device, and the one of Windows under WSL.
_NODES: Final = ("dri/renderD*", "nvidia[0-9]*", "dxg")


def has_gpu(devices: Path = Path("/dev"), *, platform: str = sys.platform) -> bool:
    """Whether a browser may find a GPU here; outside of Linux every machine has one."""
    if platform != "linux":
        return True
    return any(True for pattern in _NODES for _ in devices.glob(pattern))


def adapter_args(
    args: tuple[str, ...], *, software: bool, gpu: bool, platform: str = sys.platform
) -> tuple[str, ...]:
    """The flags by which Chromium finds a WebGPU adapter on this machine.

    Args:
        args: the profile's own flags; one that names a GPU is left alone.
        software: whether one in software may stand in where there is none.
        gpu: whether this machine has one.
        platform: as in `sys.platform`.
    """
    if any(arg.partition("=")[0] in _CHOICES for arg in args):
        return ()
    if not gpu:
        return SOFTWARE_ADAPTER_ARGS if software else ()
    return VULKAN_ADAPTER_ARGS if platform == "linux" else ()


def gpu_names(answer: dict[str, Any]) -> list[str]:
    """The GPUs in Chromium's answer to CDP's `SystemInfo.getInfo`, the one in use first.

    WebGPU tells less: on Linux, of an NVIDIA GPU that Dawn does not know, the vendor only.
    """
    gpu = answer.get("gpu")
    devices = gpu.get("devices") if isinstance(gpu, dict) else None
    if not isinstance(devices, list):
        return []
    names = [str(item.get("deviceString") or "") for item in devices if isinstance(item, dict)]
    return [name[:_NAME_CHARACTERS] for name in names if name]
