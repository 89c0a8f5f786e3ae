"""One prompt in one native app on a phone: driven, watched, measured, judged, recorded.

    app there? -> gates -> watch -> Appium session -> model -> prompt -> output, figures -> verdict

Nothing is predicted here: an app decides by itself how it runs a model.
"""

from __future__ import annotations

import json
import uuid
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.devices.android.adb import Phone, TransportLostError
from harness.devices.appium import capabilities
from harness.devices.appium.app_record import Circumstances, Question, record_of
from harness.devices.appium.app_watch import watched
from harness.devices.appium.driving import AppLog, Driver
from harness.devices.appium.measuring import Measured, measure
from harness.devices.appium.ports import free_ports
from harness.devices.appium.readiness import ensure_ready
from harness.devices.appium.server import appium_server
from harness.devices.appium.session import AppiumError, appium_session
from harness.devices.base import DeviceLostError
from harness.errors import UserError
from harness.evidence import Timeline
from harness.recording import raw_files
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from harness.devices.appium.app import App, AppModel
    from harness.devices.appium.app_watch import AppWatch
    from harness.devices.appium.server import AppiumServer
    from harness.devices.appium.session import AppiumSession
    from harness.devices.base import Device
    from results.record import Record

__all__ = ["NativeAppResult", "Question", "run_native_app"]


@dataclass(frozen=True, slots=True)
class NativeAppResult:
    """What came of one prompt.

    Attributes:
        record: as it is to be stored.
        output: what the app wrote; untrusted.
    """

    record: Record
    output: str


@dataclass(frozen=True, slots=True)
class _Bench:
    """Where and on what one prompt runs."""

    phone: Phone
    app: App
    model: AppModel
    prompt: str
    folder: Path
    progress: Callable[[str], None]


async def run_native_app(
    device: Device,
    app: App,
    question: Question,
    *,
    results: Path,
    run_id: str,
    server: AppiumServer | None = None,
    apk: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> NativeAppResult:
    """Run one prompt in one app; the caller stores the record.

    Args:
        device: the phone, leased by the caller, its screen on.
        app: the app's description.
        question: what it is asked.
        results: the results folder; raw evidence goes to `trials/TRIAL_ID/` below it.
        run_id: the run that this belongs to.
        server: an Appium server that runs; one is started where none is given.
        apk: installed first where the phone lacks the app.
        progress: told in words what is going on.

    Raises:
        UserError: something that the user must mend first: the app or its model's file is not on
            the phone, or something that Appium needs is missing on this machine.
        DeviceLostError: the phone was gone before anything began.
    """
    model, phone = app.model(question.model), phone_of(device)
    try:
        version = await ensure_ready(phone, app, model, apk=apk, progress=progress)
    except TransportLostError as error:
        raise DeviceLostError(str(error)) from error
    trial_id, started_at = uuid.uuid4().hex, datetime.now(UTC)
    folder = results / "trials" / trial_id
    folder.mkdir(parents=True)
    host = await device.facts()
    bench = _Bench(phone, app, model, question.prompt, folder, progress)
    timeline, log, measured, at_rest = Timeline(), AppLog(), None, None
    closed = next((gate for gate in await device.gates() if not gate.passed), None)
    if closed is not None:
        message = f"{closed.name} is {closed.observed}, the limit is {closed.limit}"
        timeline.add(Source.HARNESS, Kind.LAB_ERROR, message=message)
    else:
        async with nullcontext(server) if server else _own_server(bench) as running:
            at_rest = await device.rest()
            timeline = Timeline()  # what came before is no part of the load
            log, measured = await _load(bench, running, timeline)
    record = record_of(
        Circumstances(device, host, app, model, version, question, at_rest),
        timeline,
        measured,
        trial_id=trial_id,
        run_id=run_id,
        started_at=started_at,
        files=raw_files(folder, results),
    )
    progress(f"verdict: {record.verdict} ({record.explanation})")
    return NativeAppResult(record, log.output)


def phone_of(device: Device) -> Phone:
    """The phone behind a device.

    Raises:
        UserError: the device is none.
    """
    phone = getattr(device, "phone", None)
    if not isinstance(phone, Phone):
        raise UserError(
            f"{device.profile.id} is no Android phone", "native apps run on devices of kind android"
        )
    return phone


def _own_server(bench: _Bench) -> AbstractAsyncContextManager[AppiumServer]:
    bench.progress("starting Appium")
    serial, port = bench.phone.serial, bench.phone.adb.port
    return appium_server(bench.folder, adb_port=port, hide=[serial])


async def _load(bench: _Bench, server: AppiumServer, timeline: Timeline) -> tuple[AppLog, Measured]:
    """Start the app, drive it, and measure what came."""
    phone, app, log = bench.phone, bench.app, AppLog()
    system, chromedriver = free_ports(2)
    wanted = capabilities.native(
        phone.serial,
        server.adb_port,
        capabilities.Ports(system, chromedriver),
        package=app.package,
        activity=app.activity,
        start_seconds=app.start_seconds,
    )
    try:
        await phone.run(["am", "force-stop", app.package])
        async with watched(phone, app.package, timeline, bench.folder) as watch:
            try:
                async with appium_session(server.url, wanted) as session:
                    driver = Driver(session, app, timeline, bench.progress)
                    log = driver.log
                    await driver.run(bench.model, bench.prompt)
                    await _keep(session, timeline, bench.folder, log)
                    await watch.settle()
                    await watch.rest()
            except AppiumError as error:
                # An app that dies at once lets the session fail: then the phone says why.
                await watch.settle()
                if timeline.ending is None:
                    timeline.add(Source.HARNESS, Kind.LAB_ERROR, message=f"Appium: {error}")
            _keep_curves(watch, bench.folder)
            return log, measure(
                log,
                timeline,
                watch.peak_bytes,
                watch.peak_group_bytes,
                cpu_seconds=watch.cpu_seconds,
            )
    except TransportLostError as error:
        if timeline.first(Kind.TRANSPORT_LOST) is None:
            timeline.add(Source.ADB, Kind.TRANSPORT_LOST, message=str(error))
        return log, measure(log, timeline, {}, None)


async def _keep(session: AppiumSession, timeline: Timeline, folder: Path, log: AppLog) -> None:
    """What may be looked at later: the output, and the screen as a picture and as XML."""
    (folder / "output.txt").write_text(log.output, encoding="utf-8")
    if timeline.first(Kind.CHILD_GONE, Kind.TRANSPORT_LOST) is not None or session.lost:
        return
    await session.screenshot(folder / "screenshot.png")
    if timeline.first(Kind.DONE) is None:
        # Where a description's selectors are wrong, this is what mends them.
        (folder / "screen.xml").write_text(await session.source(), encoding="utf-8")


def _keep_curves(watch: AppWatch, folder: Path) -> None:
    memory = [
        {"at_seconds": s.at_seconds, "processes": s.processes, "group_bytes": s.group_bytes}
        for s in watch.curve
    ]
    (folder / "memory-curve.json").write_text(json.dumps(memory), encoding="utf-8")
    heat = json.dumps([asdict(sample) for sample in watch.heat])
    (folder / "temperature-curve.json").write_text(heat, encoding="utf-8")
