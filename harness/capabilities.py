"""Ask a library what it can do on a device, and judge what came of it.

The browser is fresh for each question and watched as in a trial, so that a library that takes the
page down is told from one that refuses.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from harness.capability_questions import NATIVE_LITERT, PACKAGES
from harness.devices.base import TabLostError
from harness.evidence import Timeline
from harness.host import harness_version
from harness.models import MODELS
from harness.recording import device_record, raw_files
from harness.runtimes import RUNTIMES
from harness.runtimes.base import package_version
from harness.verdict import Judged, judge
from results.capability import Capability, Figure
from results.record import Conditions, Kind, Source, Spread, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.capability_questions import Question
    from harness.devices.base import Device, HostFacts
    from harness.probe.report import ProbeReport
    from harness.web.server import Server
    from harness.weights.artifact import Artifact

PAGE: Final = "/page/capabilities/index.html"
FUNCTION: Final = "tierlabCapability"
NATIVE_PACKAGE: Final = "ai-edge-litert"
NATIVE_REPEATS: Final = 10
NATIVE_SECONDS: Final = 60

Text = Annotated[str, Field(max_length=4000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Figure(_Part):
    name: Text
    unit: Text
    values: Annotated[
        list[Annotated[float, Field(ge=0, allow_inf_nan=False)]],
        Field(min_length=1, max_length=1000),
    ]


class Found(_Part):
    """What the page found; `result` is what came out, for comparisons, and is not stored."""

    figures: Annotated[list[_Figure], Field(max_length=50)]
    adapter: Text | None = None
    software: bool | None = None
    variant: Text | None = None
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    result: dict[str, JsonValue] = {}


class _Error(_Part):
    name: Text
    message: Text


class Answer(_Part):
    """An answer of the page: one of these, as the page's `Answer` has it."""

    ok: Found | None = None
    unsupported: Text | None = None
    wrong: Text | None = None
    error: _Error | None = None

    def judged(self) -> Judged | None:
        """The verdict, or `None` for an error, which other evidence may explain."""
        if self.ok is not None:
            return Judged(Verdict.OK, "right-result", "it did, with the right result")
        if self.unsupported is not None:
            return Judged(Verdict.UNSUPPORTED, "lacking", self.unsupported)
        if self.wrong is not None:
            return Judged(Verdict.CRASH, "wrong-result", f"a wrong result: {self.wrong}")
        return None


def read_answer(said: JsonValue) -> Answer | Judged:
    """The answer as data; the lab's own fault where it is none."""
    try:
        answer = Answer.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return Judged(Verdict.INFRA, "no-answer", f"the page's answer: {place}: {first['msg']}")
    if len(answer.model_fields_set) != 1:
        return Judged(Verdict.INFRA, "no-answer", "the page gave no answer, or several")
    return answer


async def ask_library(
    device: Device,
    server: Server,
    question: Question,
    *,
    artifact: Artifact | None,
    run_id: str,
    results: Path,
    reference: Sequence[float] = (),
) -> tuple[Capability, dict[str, JsonValue]]:
    """Ask one question in a fresh browser; the caller stores the answer.

    Args:
        device: the device, leased by the caller.
        server: serves the page, the libraries and the artifact.
        question: what is asked.
        artifact: what the question needs, from `Question.artifact`.
        run_id: the run that the answer belongs to.
        results: the results folder; raw evidence goes to `capabilities/ID/` below it.
        reference: the right output, where there is one to compare with.

    Returns:
        The capability, and what came out of the library (tokens, an output) as the page says it.
    """
    started_at, capability_id = datetime.now(UTC), uuid.uuid4().hex
    folder = results / "capabilities" / capability_id
    host = await device.facts()
    base = server.publish(artifact.key, artifact.directory) if artifact else ""
    timeline = Timeline()
    said: JsonValue = None
    async with device.session(timeline, folder) as session:
        try:
            tab = await session.open_tab(f"{server.url}{PAGE}", lambda _: None)
            said = await tab.call(
                FUNCTION, question.request(artifact, base), within=question.within
            )
        except TabLostError as error:
            await session.settle()
            # Nothing else to go by: then these words are the evidence.
            if timeline.ending is None:
                timeline.add(Source.WATCHDOG, Kind.DEADLINE, phase="asked", message=str(error))
    answer = read_answer(said) if said is not None else None
    judged = _compared(_judge(answer, timeline), answer, question, reference)
    found = answer.ok if isinstance(answer, Answer) and answer.ok else Found(figures=[])
    capability = Capability(
        capability_id=capability_id,
        run_id=run_id,
        started_at=started_at,
        device=device_record(device, host),
        library=question.library,
        backend=question.backend,
        ability=question.ability,
        verdict=judged.verdict,
        reason=judged.explanation,
        figures=_figures(found),
        variant=found.variant or "",
        browser_flags=device.profile.browser.args,
        conditions=_conditions(host, _versions(question), found),
        files=raw_files(folder, results),
    )
    return capability, found.result


def _judge(answer: Answer | Judged | None, timeline: Timeline) -> Judged:
    if isinstance(answer, Judged):
        return answer
    if answer is not None:
        if (judged := answer.judged()) is not None:
            return judged
        if answer.error is not None:
            timeline.add(
                Source.PAGE,
                Kind.ENGINE_ERROR,
                name=answer.error.name,
                message=answer.error.message,
            )
    return judge(timeline.items)


def _compared(
    judged: Judged,
    answer: Answer | Judged | None,
    question: Question,
    reference: Sequence[float],
) -> Judged:
    """The verdict once the output is held against the right one."""
    if judged.verdict is not Verdict.OK or question.tolerance is None:
        return judged
    if not reference:
        return Judged(
            judged.verdict, "not-compared", "it ran; there was no native engine to compare with"
        )
    output = answer.ok.result.get("output") if isinstance(answer, Answer) and answer.ok else None
    distance = relative_distance(output, reference)
    words = f"its output is {distance:.2g} from the native engine's (root mean square, relative)"
    if distance <= question.tolerance:
        return Judged(Verdict.OK, "agrees", f"{words}; up to {question.tolerance:g} is allowed")
    return Judged(
        Verdict.CRASH,
        "wrong-result",
        f"a wrong result: {words}; {question.tolerance:g} is allowed",
    )


def relative_distance(output: JsonValue, reference: Sequence[float]) -> float:
    """Root mean square of the difference over that of the reference; infinite where none is."""
    if not isinstance(output, list) or len(output) != len(reference):
        return math.inf
    try:
        values = np.array(output, np.float64)
    except (TypeError, ValueError):
        return math.inf
    right = np.array(reference, np.float64)
    size = float(np.sqrt(np.mean(right**2)))
    distance = float(np.sqrt(np.mean((values - right) ** 2)))
    return distance / size if size and math.isfinite(distance) else math.inf


def _figures(found: Found) -> tuple[Figure, ...]:
    spreads = ((figure, Spread.of(figure.values)) for figure in found.figures)
    return tuple(
        Figure(name=figure.name, unit=figure.unit, spread=spread)
        for figure, spread in spreads
        if spread is not None
    )


def _conditions(
    host: HostFacts, runtime_version: str, found: Found, *, in_browser: bool = True
) -> Conditions:
    return Conditions(
        harness_version=harness_version(),
        browser=host.browser if in_browser else "none",
        browser_version=host.browser_version if in_browser else "",
        runtime_version=runtime_version,
        adapter=found.adapter,
        software_adapter=found.software,
        threads=found.threads,
        operating_system=host.operating_system,
        cpu=host.cpu,
        cores=host.cores,
        memory_bytes=host.memory_bytes,
        load_average=host.load_average,
        temperature_celsius=host.temperature_celsius,
        facts=host.extra,
    )


async def refused_question(
    device: Device, question: Question, reason: str, run_id: str
) -> Capability:
    """A question that is not asked: what the browser lacks is known from the probe."""
    return _refused(
        device,
        await device.facts(),
        run_id,
        library=question.library,
        backend=question.backend,
        ability=question.ability,
        reason=reason,
        runtime_version=_versions(question),
    )


async def refused_engines(device: Device, report: ProbeReport, run_id: str) -> list[Capability]:
    """The engines in a browser that can run no model of the catalogue there, each with the reason.

    Known from the probe alone, before anything is downloaded. Engines that may run are not listed:
    that one does is for a trial to show.
    """
    host = await device.facts()
    return [
        _refused(
            device,
            host,
            run_id,
            library=name.rpartition("/")[0],
            backend=runtime.backend,
            ability="loads a language model",
            reason=reason,
            runtime_version=runtime.version(),
        )
        for name, runtime in RUNTIMES.items()
        if runtime.backend != "native" and (reason := refusal(name, report)) is not None
    ]


def _refused(
    device: Device,
    host: HostFacts,
    run_id: str,
    *,
    library: str,
    backend: str,
    ability: str,
    reason: str,
    runtime_version: str,
) -> Capability:
    return Capability(
        capability_id=uuid.uuid4().hex,
        run_id=run_id,
        started_at=datetime.now(UTC),
        device=device_record(device, host),
        library=library,
        backend=backend,
        ability=ability,
        verdict=Verdict.UNSUPPORTED,
        reason=reason,
        browser_flags=device.profile.browser.args,
        conditions=_conditions(host, runtime_version, Found(figures=[])),
    )


def _versions(question: Question) -> str:
    return " + ".join(package_version(package) for package in PACKAGES[question.library])


def refusal(runtime: str, report: ProbeReport) -> str | None:
    """Why an engine can run no model at all on such a device, or `None` when it may run one."""
    engine = RUNTIMES[runtime]
    reasons = [
        engine.unsupported(model, quantisation, report)
        for model in MODELS.values()
        for quantisation in engine.quantisations
    ]
    if None in reasons:
        return None
    # Models that the engine never takes have reasons of their own; the device's is the commonest.
    told = [reason for reason in reasons if reason is not None]
    return max(dict.fromkeys(told), key=told.count)


def missing_native() -> str | None:
    """What must be installed here before the layer runs outside a browser, or `None`."""
    try:
        version(NATIVE_PACKAGE)
    except PackageNotFoundError:
        return f"the package {NATIVE_PACKAGE} is not installed: ./lab setup --native"
    return None


async def run_native_layer(
    device: Device, question: Question, artifact: Artifact, run_id: str
) -> tuple[Capability, list[float]]:
    """The layer of `question` on LiteRT outside of any browser, and its output.

    The process is a child: native code that crashes takes only itself down.
    """
    host = await device.facts()
    started_at = datetime.now(UTC)
    judged, found = _native_layer(question, artifact)
    output = found.result.get("output")
    capability = Capability(
        capability_id=uuid.uuid4().hex,
        run_id=run_id,
        started_at=started_at,
        device=device_record(device, host),
        library=NATIVE_LITERT,
        backend="native",
        ability=question.ability,
        verdict=judged.verdict,
        reason=judged.explanation,
        figures=_figures(found),
        conditions=_conditions(
            host,
            "not installed" if missing_native() else version(NATIVE_PACKAGE),
            found,
            in_browser=False,
        ),
    )
    values = [float(str(value)) for value in output] if isinstance(output, list) else []
    return capability, values


def _native_layer(question: Question, artifact: Artifact) -> tuple[Judged, Found]:
    nothing = Found(figures=[])
    if (reason := missing_native()) is not None:
        return Judged(Verdict.INFRA, "not-installed", reason), nothing
    job: dict[str, Any] = {
        "model": str(artifact.entry_path),
        "shape": question.argument["shape"],
        "numbers": question.argument["numbers"],
        "repeats": NATIVE_REPEATS,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness.engines.litert_layer"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=NATIVE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Judged(Verdict.HANG, "deadline", f"silent for {NATIVE_SECONDS} s"), nothing
    if done.returncode:
        words = done.stderr.strip().splitlines()
        last = words[-1][:400] if words else "without a word"
        return Judged(Verdict.CRASH, "exit", f"it ended with {done.returncode}: {last}"), nothing
    said = json.loads(done.stdout)
    found = Found(
        figures=[
            _Figure(name="load", unit="s", values=[said["load_seconds"]]),
            _Figure(name="layer", unit="ms", values=[1e3 * each for each in said["seconds"]]),
        ],
        threads=1,
        result={"output": said["output"]},
    )
    return Judged(Verdict.OK, "ran", "it ran; browsers are held against its output"), found
