"""What the GPU of this machine does in WebGPU without any engine, as the browser gives it.

Bandwidth, matrices, dispatches, pipelines and transfers: what costs of engines can be held against,
and what the probe leaves out. On a GPU in software sizes are divided by 64.

    python benchmarks/webgpu.py --json figures.json
    python benchmarks/webgpu.py --device desktop-nvidia-f16
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Any, Final

from playwright.async_api import async_playwright

from benchmarks.markdown import markdown_table, significant
from harness.devices.desktop import DesktopDevice
from harness.devices.gpu import adapter_args, gpu_names, has_gpu
from harness.profiles import load_profiles
from harness.web.server import serve

MEASURE: Final = "async (options) => (await import('/bench/webgpu.js')).measure(options)"
SECONDS: Final = 300.0
# A unit a second, and what is shown of it.
SCALES: Final = {"B": (1e9, "GB/s"), "flop": (1e12, "Tflop/s"), "": (1.0, "a second")}


async def measured(device: str) -> dict[str, Any]:
    """The figures of one browser, and what it calls its GPUs."""
    profile = load_profiles()[device]
    section, gpu = profile.browser, has_gpu()
    args = [*section.args, *adapter_args(section.args, software=section.software_adapter, gpu=gpu)]
    software = not gpu or any("swiftshader" in arg for arg in args)
    async with (
        serve(extra={"/bench/": Path(__file__).parent / "bare"}) as server,
        async_playwright() as driver,
    ):
        browser = await driver.chromium.launch(
            executable_path=DesktopDevice(profile).browser.path,
            args=args,
            chromium_sandbox=os.geteuid() != 0,
        )
        cdp = await browser.new_browser_cdp_session()
        gpus = gpu_names(await cdp.send("SystemInfo.getInfo"))  # waits for the GPU process
        page = await browser.new_page()
        await page.goto(f"{server.url}/page/trial.html")
        async with asyncio.timeout(SECONDS):
            found: dict[str, Any] = await page.evaluate(MEASURE, {"shrink": 64 if software else 1})
        await browser.close()
    return {"gpus": gpus, **found}


def _cell(figure: dict[str, Any], clock: str) -> str:
    summary = figure[clock]
    if summary is None:
        return ""
    scale, unit = SCALES[figure["unit"]]
    low, middle, high = (significant(summary[key] / scale) for key in ("p10", "median", "p90"))
    return f"{middle} ({low} to {high}) {unit}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="desktop", help="device profile (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there as well")
    options = parser.parse_args()
    found = asyncio.run(measured(options.device))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(f"{found['adapter']}: {'; '.join(found['gpus'])}; sizes divided by {found['shrink']}\n")
    rows = [
        (figure["name"], _cell(figure, "wall"), _cell(figure, "gpu"), figure["reason"] or "")
        for figure in found["figures"]
    ]
    print(markdown_table(["what", "by the wall", "by the GPU's clock", "why not"], rows, left=4))


if __name__ == "__main__":
    main()
