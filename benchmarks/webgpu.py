"""What the GPU of this machine does in WebGPU without any engine, as the browser gives it.

Bandwidth, matrices, dispatches, pipelines and transfers: what costs of engines can be held against,
and what the probe leaves out. On a GPU in software sizes are divided by 64.

    python benchmarks/webgpu.py --json figures.json
    python benchmarks/webgpu.py --device desktop-nvidia-f16

With `--probe`, what the probe's own WebGPU side finds there instead, so many times, each in a page
of its own: the median over the repeats, and how far they are apart.

    python benchmarks/webgpu.py --probe 5 --device desktop-swiftshader
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from playwright.async_api import async_playwright

from benchmarks.markdown import markdown_table, significant
from harness.devices.desktop import DesktopDevice
from harness.devices.gpu import adapter_args, gpu_names, has_gpu
from harness.probe.report import ProbeReport, WebGpuResult, parse_report
from harness.profiles import load_profiles
from harness.web.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

    from harness.probe.report import Unit

MEASURE: Final = "async (options) => (await import('/bench/webgpu.js')).measure(options)"
PROBE: Final = """async (budgetMs) => JSON.stringify(
  await (await import('/probe/index.js')).probe({ backends: ["webgpu"], budgetMs }))"""
SECONDS: Final = 300.0
UNITS: Final[tuple[tuple[Unit, float, str], ...]] = (
    ("bytes_per_s", 1e9, "GB/s"),
    ("flops_per_s", 1e9, "Gflop/s"),
)
# A unit a second, and what is shown of it.
SCALES: Final = {"B": (1e9, "GB/s"), "flop": (1e12, "Tflop/s"), "": (1.0, "a second")}


@asynccontextmanager
async def _opened(device: str) -> AsyncIterator[tuple[Browser, str, bool, list[str]]]:
    """A browser as the profile has it, a page's address, whether in software, and its GPUs."""
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
        yield browser, f"{server.url}/page/trial.html", software, gpus
        await browser.close()


async def measured(device: str) -> dict[str, Any]:
    """The figures of one browser, and what it calls its GPUs."""
    async with _opened(device) as (browser, address, software, gpus):
        page = await browser.new_page()
        await page.goto(address)
        async with asyncio.timeout(SECONDS):
            found: dict[str, Any] = await page.evaluate(MEASURE, {"shrink": 64 if software else 1})
    return {"gpus": gpus, **found}


async def probed(device: str, repeats: int, budget_ms: int) -> list[ProbeReport]:
    """Reports of the probe's WebGPU side, one after the other."""
    reports = []
    async with _opened(device) as (browser, address, _, _):
        for _ in range(repeats):
            page = await browser.new_page()
            await page.goto(address)
            async with asyncio.timeout(SECONDS):
                reports.append(parse_report(await page.evaluate(PROBE, budget_ms)))
            await page.close()
    return reports


def probe_rows(results: list[WebGpuResult]) -> list[tuple[str, str, str, str]]:
    """For each figure its name, median, lowest and highest, and how far these are apart in percent.

    Rates are less what the duty factor says was lost, as a prediction takes them; below 1 it is
    the share of time in which the device was not stopped.
    """
    rows = []

    def add(name: str, values: list[float], scale: float = 1.0) -> None:
        low, middle, high = min(values), median(values), max(values)
        spread = f"{100 * (high - low) / middle:.0f}" if middle else ""
        ends = f"{significant(low / scale)} to {significant(high / scale)}"
        rows.append((name, significant(middle / scale), ends, spread))

    for name in results[0].kernels:
        kernels = [(it.kernels[name], it.duty or 1.0) for it in results if name in it.kernels]
        for unit, scale, shown in UNITS:
            figures = [(kernel.in_unit(unit), duty) for kernel, duty in kernels]
            rates = [figure.median * duty for figure, duty in figures if figure]
            if rates:
                add(f"{name}, {shown}", rates, scale)
        times = [kernel.op_us.median / duty for kernel, duty in kernels if kernel.op_us]
        if times:
            add(f"{name}, us", times)
        add(f"{name}, samples", [float(kernel.slices) for kernel, _ in kernels])
    add("duty", [it.duty for it in results if it.duty is not None])
    add("drift", [it.drift for it in results if it.drift is not None])
    add("pipelines, mean ms", [sum(it.compile_ms.values()) / len(it.compile_ms) for it in results])
    add("settling, ms", [it.settle.wall_ms for it in results if it.settle])
    add("measuring, ms", [it.measure_ms for it in results if it.measure_ms is not None])
    add("all of it, ms", [it.wall_ms for it in results])
    add("memory, MB", [it.memory_bytes for it in results], 1e6)
    return rows


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
    parser.add_argument("--probe", type=int, metavar="N", help="the probe itself, N times")
    parser.add_argument("--budget", type=int, default=1200, metavar="MS", help="of the probe")
    options = parser.parse_args()
    if options.probe:
        reports = asyncio.run(probed(options.device, options.probe, options.budget))
        if options.json:
            texts = ",\n".join(report.model_dump_json() for report in reports)
            options.json.write_text(f"[{texts}]", encoding="utf-8")
        sides = [report.backends.webgpu for report in reports]
        results = [side for side in sides if isinstance(side, WebGpuResult)]
        for report in reports:
            for problem in report.problems:
                print(problem)
        if results:
            head = ["what", "median", "lowest to highest", "apart %"]
            print(f"n = {len(results)} of {len(reports)}\n")
            print(markdown_table(head, probe_rows(results), left=1))
        return
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
