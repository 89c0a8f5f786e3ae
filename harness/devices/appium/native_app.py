"""One prompt in one native app on a phone: driven, watched, measured, judged, recorded.

    installed? -> gates -> watch -> Appium session -> model -> prompt -> output -> figures -> verdict

Nothing is predicted here: an app decides by itself how it runs a model.
"""

from __future__ import annotations

import json
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from harness.devices.android.adb import TransportLostError
from harness.devices.android.facts.packages import major_version, parse_package
from harness.devices.appium import capabilities
from harness.devices.appium.app_watch import watched
from harness.devices.appium.driving import AppLog, Driver
from harness.devices.appium.installation import find_chromedriver
from harness.devices.appium.measuring import measure
from harness.devices.appium.ports import free_ports
from harness.devices.appium.server import appium_server
from harness.devices.appium.session import AppiumError, appium_session
from harness.devices.base import Device
from harness.errors import UserError
from harness.evidence import Timeline
from harness.host import harness_version
from harness.recording import device_record, raw_files, tiers_of
from harness.verdict import judge
from results.accuracy import judge_prediction
from results.record import (
    Conditions,
    Kind,
    Measurement,
    Prediction,
    Record,
    Source,
    WorkloadRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.devices.android.adb import Phone
    from harness.devices.appium.app import App, AppModel
    from harness.devices.appium.app_watch import AppWatch
    from harness.devices.appium.measuring import By
    from harness.devices.appium.server import AppiumServer
    from harness.devices.appium.session import AppiumSession
    from harness.devices.base import HostFacts

INSTALL_SECONDS: Final = 300.0
_APK_ON_PHONE: Final = "/data/local/tmp/tierlab-app.apk"
_NOT_ASKED: Final = Prediction(
    verdict="unknown", reason="native apps are measured, and not predicted"
)


class PhoneDevice(Device, Protocol):
    """A device that is an Android phone."""

    phone: Phone


@dataclass(frozen=True, slots=True)
class NativeAppResult:
    """What came of one prompt.

    Attributes:
        record: as it is stored.
        output: what the app wrote; untrusted.
        told_by: who says each figure: the app itself, or what was seen from outside.
    """

    record: Record
    output: str
    told_by: dict[str, By]


@dataclass(frozen=True, slots=True)
class Question:
    """What an app is asked.

    Attributes:
        prompt: the text.
        prompt_tokens: how many tokens that is meant to be.
        output_tokens: how many are hoped for; an app ends when it likes.
        model: the label of one of the app's models; `None` for its first.
    """

    prompt: str
    prompt_tokens: int
    output_tokens: int
    model: str | None = None


async def run_native_app(
    device: PhoneDevice,
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
        UserError: something that the user must mend first: the app or its model file is not on the
            phone, or something that Appium needs is missing on this machine.
        TransportLostError: the phone was gone before anything began.
    """
    model = app.model(question.model)
    version = await _ensure_ready(device.phone, app, model, apk, progress)
    trial_id, started_at = uuid.uuid4().hex, datetime.now(UTC)
    folder = results / "trials" / trial_id
    folder.mkdir(parents=True)
    host = await device.facts()
    timeline, log = Timeline(), AppLog()
    measurement, told_by = None, dict[str, "By"]()
    closed = next((gate for gate in await device.gates() if not gate.passed), None)
    if closed is not None:
        message = f"{closed.name} is {closed.observed}, the limit is {closed.limit}"
        timeline.add(Source.HARNESS, Kind.LAB_ERROR, message=message)
    else:
        async with AsyncExitStack() as opened:
            if server is None:
                progress("starting Appium")
                hidden = [device.phone.serial]
                server = await opened.enter_async_context(
                    appium_server(folder, adb_port=device.phone.adb.port, hide=hidden)
                )
            timeline = Timeline()  # the server's start is no part of the load
            log, measurement, told_by = await _load(
                device.phone, app, model, question, server, timeline, folder, progress
            )
    record = _record(
        device, host, app, model, question, timeline, measurement, told_by, version,
        trial_id=trial_id, run_id=run_id, started_at=started_at,
        files=raw_files(folder, results),
    )  # fmt: skip
    progress(f"verdict: {record.verdict} ({record.explanation})")
    return NativeAppResult(record, log.output, told_by)


async def _ensure_ready(
    phone: Phone, app: App, model: AppModel, apk: Path | None, progress: Callable[[str], None]
) -> str:
    """See to it that app and model are there; the app's version."""

    async def installed() -> str | None:
        text = (await phone.run(["dumpsys", "package", app.package], check=False)).text
        found = parse_package(text, app.package)
        return None if found is None else found.version

    version = await installed()
    if version is None and apk is not None:
        progress(f"installing {apk.name}")
        await phone.push(apk, _APK_ON_PHONE)
        try:
            done = await phone.run(
                ["pm", "install", "-r", "-t", "-g", _APK_ON_PHONE],
                within=INSTALL_SECONDS,
                check=False,
            )
        finally:
            await phone.run(["rm", "-f", _APK_ON_PHONE], check=False)
        version = await installed()
        if version is None:
            raise UserError(
                f"{apk} could not be installed as {app.package}: {done.text.strip()[:300]}",
                "check that it is the app's APK, built for this phone's processor",
            )
    if version is None:
        raise UserError(
            f"{app.name} ({app.package}) is not on the phone",
            f"give its APK with --app-apk, or install it: adb install APK. Where to get it: {app.apk}",
        )
    if model.file and (await phone.run(["ls", model.file], check=False)).exit_code != 0:
        raise UserError(
            f"the file of {model.label} is not on the phone: {model.file}",
            f"adb push YOUR_MODEL_FILE {model.file}",
        )
    return version


async def _load(
    phone: Phone,
    app: App,
    model: AppModel,
    question: Question,
    server: AppiumServer,
    timeline: Timeline,
    folder: Path,
    progress: Callable[[str], None],
) -> tuple[AppLog, Measurement, dict[str, By]]:
    """Start the app, drive it, and measure what came."""
    log = AppLog()
    system, chromedriver = free_ports(2)
    wanted = capabilities.native(
        phone.serial,
        server.adb_port,
        capabilities.Ports(system, chromedriver),
        package=app.package,
        activity=app.activity,
    )
    try:
        await phone.run(["am", "force-stop", app.package])
        async with watched(phone, app.package, timeline, folder) as watch:
            try:
                async with appium_session(server.url, wanted) as session:
                    driver = Driver(session, app, timeline, progress)
                    log = driver.log
                    await driver.run(model, question.prompt)
                    await _keep(session, timeline, folder, log)
                    await watch.settle()
                    await watch.rest()
            except AppiumError as error:
                await watch.settle()
                if timeline.ending is None:
                    timeline.add(Source.HARNESS, Kind.LAB_ERROR, message=f"Appium: {error}")
            _keep_curve(watch, folder / "memory-curve.json")
            return log, *measure(log, timeline, watch.peak_bytes, watch.peak_group_bytes)
    except TransportLostError as error:
        if timeline.first(Kind.TRANSPORT_LOST) is None:
            timeline.add(Source.ADB, Kind.TRANSPORT_LOST, message=str(error))
        return log, *measure(log, timeline, {}, None)


async def _keep(session: AppiumSession, timeline: Timeline, folder: Path, log: AppLog) -> None:
    """What is left to be looked at: the screen as a picture and as XML, and the output."""
    (folder / "output.txt").write_text(log.output, encoding="utf-8")
    if timeline.first(Kind.CHILD_GONE, Kind.TRANSPORT_LOST) is not None:
        return
    await session.screenshot(folder / "screenshot.png")
    if timeline.first(Kind.DONE) is None:
        # Where a description's selectors are wrong, this is what mends them.
        (folder / "screen.xml").write_text(await session.source(), encoding="utf-8")


def _keep_curve(watch: AppWatch, path: Path) -> None:
    curve = [
        {"at_seconds": s.at_seconds, "processes": s.processes, "group_bytes": s.group_bytes}
        for s in watch.curve
    ]
    path.write_text(json.dumps(curve), encoding="utf-8")


def _record(
    device: Device,
    host: HostFacts,
    app: App,
    model: AppModel,
    question: Question,
    timeline: Timeline,
    measurement: Measurement | None,
    told_by: dict[str, By],
    version: str,
    *,
    trial_id: str,
    run_id: str,
    started_at: datetime,
    files: dict[str, str],
) -> Record:
    judged = judge(timeline.items)
    tiers = tiers_of(measurement, judged.verdict)
    judgement, why = judge_prediction(_NOT_ASKED, judged.verdict, tiers)
    return Record(
        trial_id=trial_id,
        run_id=run_id,
        started_at=started_at,
        device=device_record(device, host),
        workload=WorkloadRecord(
            model=model.model,
            quantisation=model.quantisation,
            runtime=app.runtime,
            prompt_tokens=question.prompt_tokens,
            output_tokens=question.output_tokens,
            source="app",
            variant=model.backend,
        ),
        artifact=None,
        conditions=Conditions(
            harness_version=harness_version(),
            browser=app.name,
            browser_version=version,
            runtime_version=version,
            operating_system=host.operating_system,
            cpu=host.cpu,
            cores=host.cores,
            memory_bytes=host.memory_bytes,
            load_average=host.load_average,
            temperature_celsius=host.temperature_celsius,
            facts={
                **host.extra,
                "app": app.package,
                "app_model": model.label,
                "app_unverified": list(app.unverified),
                "figures_by": dict(told_by),
            },
        ),
        probe=None,
        prediction=_NOT_ASKED,
        measurement=measurement,
        tiers=tiers,
        verdict=judged.verdict,
        cause=judged.cause,
        explanation=judged.explanation,
        evidence=timeline.items,
        judgement=judgement,
        judgement_reason=why,
        files=files,
    )
