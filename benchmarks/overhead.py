"""What the harness costs: the same load with it, and by a bare Playwright script.

Both load the same artifact through the same page and adapter from the same server; the bare script
only starts a browser and waits for the last token. Everything that the harness adds (a fresh
cgroup, the polls for memory kills, processes and stderr, CDP, evidence, screenshot) is the
difference. Rounds are interleaved, in alternating order; goal: at most 3 % more wall time.

    python benchmarks/overhead.py --model gemma-3-270m --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from playwright.async_api import async_playwright

from harness.devices.desktop import DesktopDevice
from harness.evidence import Timeline
from harness.load import Deadlines, full_load
from harness.models import Workload, find_model
from harness.profiles import load_profiles
from harness.runtimes.onnxruntime_web import OnnxRuntimeWeb
from harness.trial import web_job
from harness.verdict import judge
from harness.web.server import Server, serve
from harness.weights.cache import ArtifactCache
from harness.weights.onnx.recipe import OnnxRecipe
from results.record import Verdict

if TYPE_CHECKING:
    from harness.weights.artifact import Artifact

OUTPUT_TOKENS = 8


def make_job(artifact: Artifact, server: Server, threads: int) -> dict[str, Any]:
    """The job that both ways give to the trial page."""
    runtime = OnnxRuntimeWeb("wasm")
    base = server.publish(artifact.key, artifact.directory)
    workload = Workload(artifact.model, "int4", runtime.id, 16, OUTPUT_TOKENS)
    return web_job(workload, runtime, artifact, base, threads)


async def with_harness(
    device: DesktopDevice, server: Server, job: dict[str, Any], folder: Path
) -> float:
    """Seconds of one load through the harness."""
    began = time.perf_counter()
    timeline = Timeline()
    async with device.session(timeline, folder) as session:
        await full_load(
            session,
            timeline,
            url=f"{server.url}/page/trial.html",
            job=job,
            deadlines=Deadlines(),
            screenshot=folder / "screenshot.png",
            progress=lambda _: None,
        )
    judged = judge(timeline.items)
    if judged.verdict is not Verdict.OK:
        raise SystemExit(f"the load failed: {judged.explanation}")
    return time.perf_counter() - began


async def bare(browser_path: Path, server: Server, job: dict[str, Any]) -> float:
    """Seconds of the same load by a script of a dozen lines."""
    async with async_playwright() as driver:
        began = time.perf_counter()
        browser = await driver.chromium.launch(
            executable_path=browser_path, chromium_sandbox=os.geteuid() != 0
        )
        page = await browser.new_page()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_event(_: object, event: dict[str, Any]) -> None:
            if event["type"] == "error":
                raise SystemExit(f"the load failed: {event}")
            if event["type"] == "done":
                done.set_result(None)

        await page.expose_binding("tierlabEmit", on_event)
        await page.goto(f"{server.url}/page/trial.html")
        await page.evaluate("job => tierlabStart(job)", job)
        await done
        await browser.close()
        return time.perf_counter() - began


async def compare(model: str, rounds: int, threads: int) -> None:
    """Interleave the two ways and print medians and their ratio."""
    artifact = ArtifactCache().ensure(find_model(model), OnnxRecipe())
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        async with serve() as server, DesktopDevice(load_profiles()["desktop"]) as device:
            job = make_job(artifact, server, threads)
            await bare(device.browser.path, server, job)  # warm the page cache
            for number in range(rounds):
                order = (0, 1) if number % 2 else (1, 0)
                for way in order:
                    if way:
                        folder = Path(scratch) / str(number)
                        ours.append(await with_harness(device, server, job, folder))
                    else:
                        theirs.append(await bare(device.browser.path, server, job))
                print(f"round {number + 1}: harness {ours[-1]:.2f} s, bare {theirs[-1]:.2f} s")
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    print(
        f"{model}, {threads} threads, n={rounds}: harness {median(ours):.2f} s, "
        f"bare {median(theirs):.2f} s, median of ratios {median(ratios):.3f} "
        f"(from {min(ratios):.3f} to {max(ratios):.3f})"
    )


def main() -> None:
    """Parse the options and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="gemma-3-270m")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=min(os.cpu_count() or 1, 4))
    options = parser.parse_args()
    asyncio.run(compare(options.model, options.rounds, options.threads))


if __name__ == "__main__":
    main()
