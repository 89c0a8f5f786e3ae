"""Whether this machine has a GPU, and the flags that give a browser one in software."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

# Chromium offers WebGPU on a GPU in software only when it is told to.
SOFTWARE_ADAPTER_ARGS: Final = (
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
)

# Render nodes of the kernel's drivers, NVIDIA's own device, and the one of Windows under WSL.
_NODES: Final = ("dri/renderD*", "nvidia[0-9]*", "dxg")


def has_gpu(devices: Path = Path("/dev"), *, platform: str = sys.platform) -> bool:
    """Whether a browser may find a GPU here; outside of Linux every machine has one."""
    if platform != "linux":
        return True
    return any(True for pattern in _NODES for _ in devices.glob(pattern))
