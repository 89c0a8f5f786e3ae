"""Trials of one program on one phone: pushed once, run once for each set of parameters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from harness.devices.android.adb import TransportLostError
from harness.devices.android.binary.cores import fast_cores
from harness.devices.android.binary.kinds import BinarySpec, find_kind
from harness.devices.android.binary.model_file import describe_model
from harness.devices.android.binary.record import (
    Trial,
    keep_curve,
    make_record,
    new_trial_id,
    now,
)
from harness.devices.android.binary.run import run_staged
from harness.devices.android.binary.staging import Staged, staged
from harness.devices.base import DeviceLostError
from harness.errors import UserError
from harness.evidence import Timeline
from harness.recording import raw_files
from results.record import Kind, Record, Source, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.devices.android.adb import Phone
    from harness.devices.android.binary.kinds import Parameters
    from harness.devices.android.binary.model_file import ModelFile
    from harness.devices.android.binary.options import Asked, BinaryPlan
    from harness.devices.base import Device, Gate, HostFacts
    from harness.profiles import Profile


@runtime_checkable
class PhoneDevice(Protocol):
    """What a trial needs of an Android device."""

    profile: Profile

    @property
    def phone(self) -> Phone:
        """The phone itself."""

    async def facts(self) -> HostFacts:
        """See `Device.facts`."""

    async def gates(self) -> list[Gate]:
        """See `Device.gates`."""

    async def rest(self) -> bool:
        """See `Device.rest`."""

    async def recover(self) -> None:
        """See `Device.recover`."""


async def binary_trials(
    device: PhoneDevice,
    spec: BinarySpec,
    model: ModelFile,
    cases: Sequence[Parameters],
    *,
    run_id: str,
    results: Path,
    within: float,
    keep: Callable[[Record], None],
    retries: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> dict[Parameters, Record]:
    """Run every case; a fault of the lab's own is tried again, after the phone has recovered.

    Args:
        device: leased by the caller.
        spec: the user's files.
        model: what the model file is.
        cases: sets of parameters.
        run_id: the run that the trials belong to.
        results: the results folder; raw evidence goes to `trials/TRIAL_ID/` below it.
        within: seconds that one case may take.
        keep: stores a record, durably; called with each, also those that are tried again.
        retries: how many faults of the lab's own are forgiven, in all.
        say: told in words what is going on.

    Raises:
        UserError: the files are not for this phone.
        DeviceLostError: the phone is gone, and no retry is left.
    """
    pending = list(cases)
    done: dict[Parameters, Record] = {}
    while pending:
        try:
            async with staged(device.phone, spec, say) as stage:
                while pending:
                    record = await _trial(
                        device,
                        stage,
                        model,
                        pending[0],
                        run_id=run_id,
                        results=results,
                        within=within,
                        say=say,
                    )
                    keep(record)
                    if record.verdict is Verdict.INFRA and retries > 0:
                        break
                    done[pending.pop(0)] = record
        except TransportLostError as error:
            if retries <= 0:
                raise DeviceLostError(f"the phone was lost: {error}") from error
            say(f"the phone was lost ({error}); once more")
        if pending:
            retries -= 1
            await device.recover()
    return done


async def _trial(
    device: PhoneDevice,
    stage: Staged,
    model: ModelFile,
    parameters: Parameters,
    *,
    run_id: str,
    results: Path,
    within: float,
    say: Callable[[str], None],
) -> Record:
    trial_id, started_at = new_trial_id(), now()
    folder = results / "trials" / trial_id
    folder.mkdir(parents=True)
    host = await device.facts()
    closed = [gate for gate in await device.gates() if not gate.passed]
    at_rest = await device.rest() if not closed else None
    trial = Trial(
        run_id=run_id,
        trial_id=trial_id,
        started_at=started_at,
        profile=device.profile,
        host=host,
        model=model,
        runtime=stage.kind.runtime,
        parameters=parameters,
        at_rest=at_rest,
    )
    if closed:
        gate, timeline = closed[0], Timeline()
        message = f"{gate.name} is {gate.observed}, the limit is {gate.limit}"
        timeline.add(Source.HARNESS, Kind.LAB_ERROR, message=message)
        return make_record(trial, timeline, None, {})
    result = await run_staged(device.phone, stage, parameters, folder, within=within, progress=say)
    keep_curve(result, folder / "memory-curve.json")
    say(f"verdict: {result.judged.verdict} ({result.judged.explanation})")
    return make_record(trial, result.timeline, result, raw_files(folder, results))


async def run_plan(
    device: Device,
    plan: BinaryPlan,
    *,
    run_id: str,
    results: Path,
    keep: Callable[[Record], None],
    retries: int,
    say: Callable[[str], None],
) -> dict[Asked, Record]:
    """Run all that the options ask for on one phone; see `binary_trials`.

    Raises:
        UserError: the files are not for this phone.
        DeviceLostError: the phone is gone, and no retry is left.
    """
    if not isinstance(device, PhoneDevice):
        raise UserError(
            f"{device.profile.name} is no phone that a program can be pushed to",
            "--binary is for Android devices",
        )
    find_kind(plan.spec.binary, plan.spec.kind)  # before minutes go into hashing and pushing
    try:
        cores = await fast_cores(device.phone)
    except TransportLostError as error:
        raise DeviceLostError(f"the phone was lost: {error}") from error
    say(f"reading {plan.spec.model.name}")
    model = await asyncio.to_thread(describe_model, plan.spec.model, model=plan.model)
    cases = {asked: plan.parameters(asked, cores) for asked in plan.cases}
    found = await binary_trials(
        device,
        plan.spec,
        model,
        list(dict.fromkeys(cases.values())),
        run_id=run_id,
        results=results,
        within=plan.within,
        keep=keep,
        retries=retries,
        say=say,
    )
    return {asked: found[parameters] for asked, parameters in cases.items()}
