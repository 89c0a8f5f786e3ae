"""Run the zero-weight probe in a tab of a device, and bring its report home."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

from harness.devices.base import TabLostError
from harness.errors import UserError
from harness.evidence import Timeline
from harness.probe.report import parse_report
from harness.verdict import judge
from results.record import Kind, Source, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.devices.base import Device, PageEvent
    from harness.probe.report import ProbeReport
    from harness.web.server import Server

START_SECONDS: Final = 30.0
# The probe bounds itself; this is for a page that died or a device that froze.
SILENCE_SECONDS: Final = 60.0


class ProbeFailedError(Exception):
    """The probe gave no report: the message says what happened instead.

    Attributes:
        infra: whether the lab failed, and not the device or its browser.
    """

    def __init__(self, message: str, *, infra: bool = False) -> None:
        super().__init__(message)
        self.infra = infra


async def run_probe(
    device: Device,
    server: Server,
    folder: Path,
    *,
    budget_ms: int,
    seed: int,
    backends: Sequence[Literal["wasm", "webgpu"]] = ("wasm", "webgpu"),
    kernels: Sequence[str] | None = None,
    zeros: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> ProbeReport:
    """Probe a device in a fresh browser, so that nothing of it is left when the load begins.

    Args:
        device: the device.
        server: serves the page and the probe's own files.
        folder: for the raw logs.
        budget_ms: how long the probe may measure.
        seed: decides on the probe's data.
        backends: what is measured.
        kernels: measure only these; None: all that the backends know.
        zeros: weights are zeros, to show what difference that makes.
        progress: told in words what is being measured.

    Raises:
        ProbeFailedError: the page died, fell silent, or sent something that is not a report.
    """
    timeline = Timeline()
    reports: list[Any] = []
    options: dict[str, Any] = {"budgetMs": budget_ms, "seed": seed, "backends": list(backends)}
    options |= {} if kernels is None else {"kernels": list(kernels)}
    options |= {"data": "zeros"} if zeros else {}

    def on_event(event: PageEvent) -> None:
        timeline.touch()
        match event.get("type"):
            case "probe-report":
                reports.append(event.get("report"))
            case "probe-progress":
                step = event.get("progress")
                progress("probe: " + _words(step if isinstance(step, dict) else {}))
            case "error":
                timeline.add(
                    Source.PAGE,
                    Kind.ENGINE_ERROR,
                    name=str(event.get("name")),
                    message=str(event.get("message")),
                )

    async with device.session(timeline, folder) as session:
        try:
            tab = await session.open_tab(f"{server.url}/page/trial.html", on_event)
            await device.rest()
            await tab.call("tierlabProbe", options, within=START_SECONDS)
        except TabLostError as error:
            await session.settle()
            raise _failed(timeline, str(error)) from error
        while not reports:
            if timeline.ending is not None:
                await session.settle()
                raise _failed(timeline)
            if not await timeline.changed(within=SILENCE_SECONDS):
                raise ProbeFailedError(f"the page was silent for {SILENCE_SECONDS:.0f} s")
    try:
        return parse_report(json.dumps(reports[0]))
    except UserError as error:
        raise ProbeFailedError(str(error)) from error


def _failed(timeline: Timeline, otherwise: str = "") -> ProbeFailedError:
    """What ended the probe, the kernel's word first."""
    told = timeline.first(Kind.OOM_KILL) or timeline.ending
    reason = str(told).strip() if told else otherwise
    return ProbeFailedError(reason, infra=judge(timeline.items).verdict is Verdict.INFRA)


def _words(step: dict[str, Any]) -> str:
    return " ".join(str(step[key]) for key in ("backend", "step") if key in step)
