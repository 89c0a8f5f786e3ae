"""One prompt in one iOS app: driven, watched, measured, judged, recorded."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from harness.devices.appium.app_record import Circumstances, Question, record_of
from harness.devices.appium.driving import AppLog, Driver
from harness.devices.appium.measuring import Measured, measure
from harness.devices.appium.session import AppiumError, SessionLostError, appium_session
from harness.devices.ios import capabilities
from harness.devices.ios.device import IosDevice
from harness.devices.ios.reports import evidence_of, parse_report
from harness.devices.ios.session import CRASH_LOG, SETTLE_SECONDS
from harness.errors import UserError
from harness.evidence import Timeline
from harness.recording import raw_files
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.devices.appium.session import AppiumSession
    from harness.devices.base import Device
    from harness.devices.ios.apps import IosApp
    from results.record import Record

__all__ = ["Question", "run_ios_app"]

#: XCUIApplicationState: 1 is "not running", 4 "in the foreground".
NOT_RUNNING: Final = 1
_LOOK_SECONDS: Final = 0.5


async def run_ios_app(
    device: Device,
    app: IosApp,
    question: Question,
    *,
    results: Path,
    run_id: str,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Record, str]:
    """Run one prompt in one app; the record, which the caller stores, and what the app wrote.

    Args:
        device: leased by the caller, unlocked.
        app: the app's description.
        question: what it is asked.
        results: the results folder; raw evidence goes to `trials/TRIAL_ID/` below it.
        run_id: the run that this belongs to.
        progress: told in words what is going on.

    Raises:
        UserError: the device cannot be reached, or the app is not on it.
        DeviceLostError: the device is gone before anything began.
    """
    if not isinstance(device, IosDevice):
        raise UserError(f"{app.name} is an app of iOS", f"{device.profile.name} is no iOS device")
    model = app.model(question.model)
    trial_id, started_at = uuid.uuid4().hex, datetime.now(UTC)
    folder = results / "trials" / trial_id
    await asyncio.to_thread(folder.mkdir, parents=True)
    host = await device.facts()
    timeline, log, measured = Timeline(), AppLog(), None
    closed = next((gate for gate in await device.gates() if not gate.passed), None)
    if closed is not None:
        message = f"{closed.name} is {closed.observed}, the limit is {closed.limit}"
        timeline.add(Source.HARNESS, Kind.LAB_ERROR, message=message)
    else:
        wanted = capabilities.app(device.settings, app.bundle_id)
        try:
            async with appium_session(device.settings.appium, wanted) as session:
                timeline = Timeline()
                log = await _drive(session, app, question, timeline, progress)
                await _after(session, app, timeline, folder)
        except AppiumError as error:
            raise UserError(
                f"{app.name} cannot be started through {device.settings.appium}: {error}",
                f"install {app.bundle_id} on the device; see docs/ios.md",
            ) from error
        measured = _measured(log, timeline)
    await asyncio.to_thread((folder / "output.txt").write_text, log.output, "utf-8")
    record = record_of(
        Circumstances(device, host, app, model, "unknown", question),
        timeline,
        measured,
        trial_id=trial_id,
        run_id=run_id,
        started_at=started_at,
        files=raw_files(folder, results),
    )
    progress(f"verdict: {record.verdict} ({record.explanation})")
    return record, log.output


async def _drive(
    session: AppiumSession,
    app: IosApp,
    question: Question,
    timeline: Timeline,
    progress: Callable[[str], None],
) -> AppLog:
    """Ask the app, while somebody looks whether it lives."""
    watch = asyncio.create_task(_watch(session, app.bundle_id, timeline))
    driver = Driver(session, app, timeline, progress)
    try:
        return await driver.run(app.model(question.model), question.prompt)
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _watch(session: AppiumSession, bundle_id: str, timeline: Timeline) -> None:
    """Ask for the app's state until it is not running any more."""
    while timeline.ending is None:
        try:
            state = await session.script("mobile: queryAppState", {"bundleId": bundle_id})
        except SessionLostError as error:
            timeline.add(Source.DRIVER, Kind.TRANSPORT_LOST, message=str(error)[:400])
            return
        except AppiumError:
            state = None
        if state == NOT_RUNNING:
            timeline.add(
                Source.DRIVER, Kind.CHILD_GONE, line="iOS says that the app does not run any more"
            )
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _after(session: AppiumSession, app: IosApp, timeline: Timeline, folder: Path) -> None:
    """The reports about the app's end, and the screen of one that did not end well."""
    with contextlib.suppress(AppiumError):
        if timeline.first(Kind.CHILD_GONE) is not None:
            await _reports(session, app, timeline, folder)
        elif timeline.first(Kind.DONE) is None:
            await session.screenshot(folder / "screenshot.png")
            source = await session.source()
            await asyncio.to_thread((folder / "screen.xml").write_text, source, "utf-8")


async def _reports(session: AppiumSession, app: IosApp, timeline: Timeline, folder: Path) -> None:
    end, number = timeline.now() + SETTLE_SECONDS, 0
    while timeline.first(Kind.LMK_KILL, Kind.NATIVE_CRASH) is None and timeline.now() < end:
        for text in await session.logs(CRASH_LOG):
            number += 1
            path = folder / f"report-{number}.ips"
            await asyncio.to_thread(path.write_text, text, "utf-8")
            report = parse_report(text)
            for kind, detail in evidence_of(report, app.roles) if report else []:
                timeline.add(Source.CRASH_REPORT, kind, **detail)
        await timeline.changed(within=_LOOK_SECONDS)


def _measured(log: AppLog, timeline: Timeline) -> Measured:
    sizes = [
        size
        for item in timeline.items
        if item.kind is Kind.LMK_KILL and isinstance(size := item.detail.get("rss_bytes"), int)
    ]
    return measure(log, timeline, {"engine": max(sizes)} if sizes else {}, None)
