"""What every engine does with a model here, through the harness and bare.

Bare: the engine's own interface in a page or a process of a few lines (benchmarks/bare/), started
by plain Playwright or Python, with none of what the harness adds: no adapter, loop or watch, no
group, CDP, evidence. Same server, artifact, prompt, threads and realm (page or worker); greedy. The
rounds are interleaved, in alternating order, and each engine's files are read once beforehand, so
that they come from the page cache. Where a browser has a GPU in software only, rows say so.

    python benchmarks/runtimes.py --model gemma-3-270m --runtime wllama/wasm --json figures.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from benchmarks.bare import driver
from benchmarks.comparison import HEADS, Figures, Round, failures, row
from benchmarks.markdown import markdown_table
from harness.devices.desktop import DesktopDevice
from harness.devices.gpu import SOFTWARE_ADAPTER_ARGS, has_gpu
from harness.devices.lease import lease
from harness.devices.machine import quiet
from harness.errors import UserError
from harness.evidence import Timeline
from harness.load import Deadlines, full_load
from harness.models import Workload, find_model
from harness.native_load import native_load
from harness.probe.run import ProbeFailedError, run_probe
from harness.profiles import load_profiles
from harness.recording import measurement_of
from harness.runtimes import RUNTIMES, find_runtime
from harness.runtimes.base import NativeRuntime, WebRuntime
from harness.trial import load_job, web_job
from harness.verdict import judge
from harness.web.server import serve
from harness.weights.cache import ArtifactCache
from results.record import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.models import Architecture
    from harness.probe.report import ProbeReport
    from harness.runtimes.base import Runtime
    from harness.web.server import Server
    from harness.weights.artifact import Artifact
    from results.record import Measurement

MODELS: Final = ("gemma-3-270m", "gemma-2b")
PROMPT_TOKENS: Final = 16
ROUNDS: Final = 3
# On a GPU in software a model from this size on takes minutes a load: once is enough.
LARGE_PARAMETERS: Final = 1_000_000_000
# Where the first token took longer than this, the same prompt is not run once more.
WARM_LIMIT_MS: Final = 120_000.0
REST_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Bench:
    """Where everything runs."""

    device: DesktopDevice
    server: Server
    report: ProbeReport
    folder: Path
    limit_seconds: float

    @property
    def software(self) -> bool:
        """Whether the browser's GPU is software."""
        webgpu = self.report.backends.webgpu
        return bool(webgpu and webgpu.adapter and webgpu.adapter.software)


@dataclass(frozen=True, slots=True)
class Contest:
    """One engine with one model on one bench."""

    bench: Bench
    runtime: Runtime
    artifact: Artifact
    workload: Workload

    @property
    def threads(self) -> int:
        """How many both ways use."""
        return self.runtime.threads(self.bench.report)

    def job(self) -> dict[str, Any]:
        """What a trial tells the engine."""
        if isinstance(self.runtime, WebRuntime):
            base = self.bench.server.publish(self.artifact.key, self.artifact.directory)
            job = web_job(self.workload, self.runtime, self.artifact, base, self.threads)
        else:
            job = load_job(self.workload, self.runtime, self.artifact, self.threads)
        return {**job, "warmLimitMs": WARM_LIMIT_MS}


def tell(text: str) -> None:
    """Progress, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


async def with_harness(contest: Contest) -> Figures | str:
    """One load as a trial does it, or what became of it."""
    bench, timeline = contest.bench, Timeline()
    folder = bench.folder / str(time.monotonic_ns())
    deadlines = Deadlines(bench.limit_seconds, bench.limit_seconds)
    measured: Measurement
    if isinstance(contest.runtime, NativeRuntime):
        async with bench.device.child(timeline, folder) as child:
            log = await native_load(
                child,
                timeline,
                module=contest.runtime.module,
                job=contest.job(),
                deadlines=deadlines,
                progress=lambda _: None,
            )
            measured = measurement_of(child, timeline, log, contest.workload)
    else:
        async with bench.device.session(timeline, folder) as session:
            log = await full_load(
                session,
                timeline,
                url=f"{bench.server.url}/page/trial.html",
                job=contest.job(),
                deadlines=deadlines,
                screenshot=folder / "screenshot.png",
                progress=lambda _: None,
            )
            measured = measurement_of(session, timeline, log, contest.workload)
    judged = judge(timeline.items)
    if judged.verdict is not Verdict.OK:
        return f"{judged.verdict}: {judged.explanation}"
    return figures_of(measured)


def figures_of(measured: Measurement) -> Figures:
    """The figures of a good load."""
    parts = ("renderer", "gpu", "engine")
    return Figures(
        load_seconds=(measured.download_seconds or 0) + (measured.create_seconds or 0),
        first_seconds=measured.first_token_seconds or 0,
        warm_seconds=measured.warm_first_token_seconds,
        prompt_tokens=measured.prompt_tokens or PROMPT_TOKENS,
        token_ms=measured.token_ms,
        peak_bytes=sum(measured.memory.processes.get(part, 0) for part in parts),
        tokens=measured.tokens,
    )


async def bare(contest: Contest) -> Figures | str:
    """One load without the harness, or what became of it."""
    bench, job = contest.bench, contest.job()
    name = contest.runtime.id.partition("/")[0].replace("-", "_").replace(".", "_")
    try:
        if isinstance(contest.runtime, NativeRuntime):
            module = f"benchmarks.bare.{name}"
            result, peak = await driver.in_process(module, job, bench.limit_seconds)
        else:
            result, peak = await driver.in_page(
                bench.device.browser.path,
                () if has_gpu() else SOFTWARE_ADAPTER_ARGS,
                f"{bench.server.url}/bare/page.html",
                {**job, "module": f"/bare/{name}.js", "files": job["source"]["files"]},
                bench.limit_seconds,
            )
    except driver.BareError as error:
        return str(error)
    if len(result["tokens"]) != contest.workload.output_tokens:
        return f"{len(result['tokens'])} tokens instead of {contest.workload.output_tokens}"
    return Figures(
        load_seconds=result["loadMs"] / 1000,
        first_seconds=result["firstMs"] / 1000,
        warm_seconds=None if result["warmMs"] is None else result["warmMs"] / 1000,
        prompt_tokens=result["promptTokens"] or PROMPT_TOKENS,
        token_ms=tuple(result["tokenMs"]),
        peak_bytes=peak,
        tokens=tuple(result["tokens"]),
    )


async def one(contest: Contest, way: str) -> tuple[Figures | str, dict[str, Any]]:
    """One load by one way, and the same as raw data."""
    at_rest = await quiet(lambda: psutil.cpu_percent(interval=None), within=REST_SECONDS)
    load, began = os.getloadavg()[0], datetime.now(UTC)
    outcome = await (with_harness(contest) if way == "harness" else bare(contest))
    raw = {
        **asdict(contest.workload),
        "artifact": contest.artifact.key,
        "threads": contest.threads,
        "way": way,
        "began": began.isoformat(timespec="seconds"),
        "host_at_rest": at_rest,
        "load_average": round(load, 2),
        **({"failure": outcome} if isinstance(outcome, str) else asdict(outcome)),
    }
    words = outcome if isinstance(outcome, str) else _in_short(outcome)
    tell(f"{contest.workload.model} on {contest.runtime.id}, {way}: {words}")
    return outcome, raw


def _in_short(figures: Figures) -> str:
    return (
        f"load {figures.load_seconds:.2f} s, first token {figures.first_seconds:.2f} s, "
        f"decode {figures.decode_rate or 0:.3g} tok/s, {figures.peak_bytes / 1e9:.2f} GB"
    )


async def contend(contest: Contest, rounds: int) -> tuple[list[Round], list[dict[str, Any]]]:
    """All rounds of one engine; none after a failure, which would only fail again."""
    done: list[Round] = []
    raw: list[dict[str, Any]] = []
    await asyncio.to_thread(read_through, contest.artifact)
    for number in range(rounds):
        ways = ("harness", "bare") if number % 2 == 0 else ("bare", "harness")
        outcomes: dict[str, Figures | str] = {}
        for way in ways:
            outcomes[way], record = await one(contest, way)
            raw.append({**record, "round": number + 1})
        done.append(Round(**outcomes))
        if done[-1].failed:
            break
    return done, raw


def read_through(artifact: Artifact) -> None:
    """Bring the files into the page cache."""
    for file in artifact.files:
        with (artifact.directory / file.name).open("rb") as opened:
            while opened.read(4 << 20):
                pass


def rounds_of(asked: int | None, model: Architecture, runtime: Runtime, *, software: bool) -> int:
    """How often an engine loads a model, unless asked for otherwise."""
    if asked:
        return asked
    slow = software and runtime.backend == "webgpu" and model.parameters >= LARGE_PARAMETERS
    return 1 if slow else ROUNDS


@dataclass(slots=True)
class Findings:
    """What is printed of one model in the end, and the raw data of all."""

    rows: list[tuple[str, ...]]
    notes: list[str]
    raw: list[dict[str, Any]]


def supported(runtime: Runtime, model: Architecture, report: ProbeReport) -> tuple[str, str]:
    """The first way of storing weights that an engine can run here, or "" and why there is none."""
    if missing := runtime.missing():
        return "", missing
    reasons = []
    for name in runtime.quantisations:
        exact = runtime.exact_quantisation(model, name)
        reason = runtime.unsupported(model, exact, report)
        if not reason:
            return exact, ""
        reasons.append(reason)
    # The first may be about these weights only; the last was asked of all.
    return "", reasons[-1]


async def of_model(bench: Bench, model: Architecture, options: argparse.Namespace) -> Findings:
    """Every engine with one model."""
    found = Findings([], [], [])
    for name in options.runtime or RUNTIMES:
        runtime = find_runtime(name)
        quantisation, reason = supported(runtime, model, bench.report)
        if reason:
            found.notes.append(f"{name} is not supported here: {reason}")
            continue
        tell(f"{model.id} {quantisation} for {name}")
        artifact = ArtifactCache().ensure(model, runtime.recipe(model, quantisation, bench.report))
        workload = Workload(model.id, quantisation, name, PROMPT_TOKENS, options.output_tokens)
        contest = Contest(bench, runtime, artifact, workload)
        times = rounds_of(options.rounds, model, runtime, software=bench.software)
        rounds, raw = await contend(contest, times)
        label = name
        if bench.software and runtime.backend == "webgpu":
            label += " (software adapter)"
        weights = f"{quantisation}, {artifact.total_bytes / 1e9:.2f} GB"
        found.rows.append(row(label, weights, contest.threads, rounds))
        found.notes += failures(name, rounds)
        found.raw += raw
    return found


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All models; prints a table each, and returns everything raw."""
    models = [find_model(name) for name in options.model or MODELS]
    for name in options.runtime or ():
        find_runtime(name)
    raw: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="tierlab-runtimes-") as scratch:
        async with (
            serve(extra={"/bare/": driver.FOLDER}) as server,
            DesktopDevice(load_profiles()["desktop"]) as device,
        ):
            tell("probing")
            report = await run_probe(device, server, Path(scratch, "probe"), budget_ms=500, seed=1)
            bench = Bench(device, server, report, Path(scratch), options.limit)
            facts = await device.facts()
            conditions = {
                "cpu": facts.cpu,
                "cores": facts.cores,
                "memory_bytes": facts.memory_bytes,
                "operating_system": facts.operating_system,
                "browser": f"{facts.browser} {facts.browser_version}",
                "software_adapter": bench.software,
                "prompt_tokens": PROMPT_TOKENS,
                "output_tokens": options.output_tokens,
                "load_average_before": os.getloadavg()[0],
                "versions": versions(options.runtime or RUNTIMES),
            }
            for model in models:
                found = await of_model(bench, model, options)
                raw += found.raw
                print(f"\n### {model.id}\n")
                print(markdown_table(HEADS, found.rows, left=2))
                print("".join(f"\n- {' '.join(note.split())}" for note in found.notes), flush=True)
            conditions["load_average_after"] = os.getloadavg()[0]
    rests = [record["host_at_rest"] for record in raw]
    print(
        "\nEach cell: harness / bare = median of the ratios of the rounds. "
        f"{conditions['cpu']}, {conditions['cores']} cores, {conditions['browser']}; "
        f"{PROMPT_TOKENS} + {options.output_tokens} tokens; load average "
        f"{conditions['load_average_before']:.1f} before, {conditions['load_average_after']:.1f} "
        f"after; the host was at rest before {sum(rests)} of {len(rests)} loads."
    )
    return {"conditions": conditions, "loads": raw}


def versions(names: Sequence[str] | dict[str, Runtime]) -> dict[str, str]:
    """The versions of the engines, as far as they are installed."""
    found = {}
    for name in names:
        with suppress(UserError):
            found[name] = find_runtime(name).version()
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Lease the machine, measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--model", action="append", metavar="ID", help=f"default: {' and '.join(MODELS)}"
    )
    parser.add_argument("--runtime", action="append", metavar="ID", help="default: every one")
    parser.add_argument(
        "--rounds",
        type=int,
        help=f"default: {ROUNDS}, and 1 for a large model on a GPU in software",
    )
    parser.add_argument("--output-tokens", type=int, default=8)
    parser.add_argument(
        "--limit",
        type=float,
        default=1200.0,
        metavar="SECONDS",
        help="silence allowed through the harness, and time allowed bare; default: %(default)s",
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the raw figures go")
    options = parser.parse_args(argv)
    with lease("machine", owner="benchmarks/runtimes.py", on_wait=tell):
        found = asyncio.run(measure(options))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (UserError, ProbeFailedError) as error:
        sys.exit(str(error))
