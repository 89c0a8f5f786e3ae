"""The laboratory: what is run once, tried again, stored, and told when it cannot be."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock, Timeout

from harness import laboratory, leasing, probing, trials
from harness.ab import Setup
from harness.devices import places
from harness.devices.base import DeviceLostError, HeldElsewhereError, LeaseLostError
from harness.devices.device_state import Condition, load
from harness.devices.lease import Holder
from harness.errors import UserError
from harness.laboratory import Laboratory, LaboratorySettings
from harness.models import Workload
from harness.packages import NODE_MODULES, node_modules
from harness.probe.run import ProbeFailedError
from harness.profiles import load_profiles
from harness.state import state_directory
from harness.trial import TrialSettings
from harness.weights.onnx.recipe import OnnxRecipe
from results.claims import assess, claims
from results.record import Record, Verdict
from results.regressions.ab import Mark, mark_of
from results.store import FILE_NAME, Store
from tests.harness.fakes import FakeDevice, artifact, probe_well
from tests.results.records import record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from harness.profiles import Profile
    from harness.weights.artifact import Artifact
    from harness.weights.cache import ArtifactCache

WORKLOAD = Workload("gemma-3-270m", "int4", "onnxruntime-web/wasm", 16, 4)
DESKTOP = load_profiles()["desktop"]


class Bench:
    """A laboratory in which trials end as a list says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outcomes: list[Record | BaseException] = []
        self.opened: list[str] = []
        self.browsers: list[Path | None] = []
        self.packages: list[Path] = []
        self.asked: list[OnnxRecipe] = []
        self.said: list[str] = []

    @asynccontextmanager
    async def device(
        self, profile: Profile, browser: Path | None = None
    ) -> AsyncIterator[FakeDevice]:
        self.opened.append(profile.id)
        self.browsers.append(browser)
        self.packages.append(node_modules())
        yield FakeDevice(probe_well, profile=profile)

    async def run_trial(
        self, *_: object, artifact_source: Callable[[OnnxRecipe], Artifact], **__: object
    ) -> Record:
        lease = FileLock(self.folder / "state" / "leases" / "machine.lock")
        with pytest.raises(Timeout):  # the device is leased
            lease.acquire(timeout=0)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        for options in self.asked:
            artifact_source(options)
        return outcome

    def open(self, **settings: Any) -> Laboratory:
        results = self.folder / "results"
        with Store.open(results) as store:
            store.start_run("run-1", "")
        trial = TrialSettings("run-1", results)
        return Laboratory(LaboratorySettings(trial, **settings), self.said.append)

    def stored(self) -> list[str]:
        with Store.open(self.folder / "results") as store:
            return [r.trial_id for r in store.records()]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TIERLAB_CACHE", str(tmp_path / "cache"))
    bench = Bench(tmp_path)
    monkeypatch.setattr(places, "DesktopDevice", bench.device)
    monkeypatch.setattr(trials, "run_trial", bench.run_trial)
    yield bench
    # Whatever happened, nobody holds the machine any more.
    if (tmp_path / "state" / "leases").is_dir():
        FileLock(tmp_path / "state" / "leases" / "machine.lock").acquire(timeout=0)
        assert list((tmp_path / "state" / "leases").glob("*.json")) == []


def test_a_trial_is_run_once_and_stored_before_it_is_used(bench: Bench) -> None:
    bench.outcomes = [record("one")]
    with bench.open() as lab:
        first = lab.trial(DESKTOP, WORKLOAD)
        assert bench.stored() == ["one"]
        assert lab.trial(DESKTOP, WORKLOAD) is first
    assert bench.opened == ["desktop"]


def test_another_workload_or_device_is_another_trial(bench: Bench) -> None:
    bench.outcomes = [record("one"), record("two"), record("three")]
    other = Workload("gemma-2b", "int4", "onnxruntime-web/wasm", 16, 4)
    with bench.open() as lab:
        lab.trial(DESKTOP, WORKLOAD)
        lab.trial(DESKTOP, other)
        lab.trial(load_profiles()["desktop-2g"], WORKLOAD)
    assert sorted(bench.stored()) == ["one", "three", "two"]


def test_a_fault_of_the_lab_is_tried_once_more_and_both_are_kept(bench: Bench) -> None:
    bench.outcomes = [record("bad", verdict=Verdict.INFRA), record("good")]
    with bench.open() as lab:
        assert lab.trial(DESKTOP, WORKLOAD).verdict is Verdict.OK
    assert sorted(bench.stored()) == ["bad", "good"]
    assert any("the lab failed" in line and "once more" in line for line in bench.said)


def test_a_fault_that_stays_is_the_result(bench: Bench) -> None:
    bench.outcomes = [record(name, verdict=Verdict.INFRA) for name in ("a", "b", "never")]
    with bench.open() as lab:
        assert lab.trial(DESKTOP, WORKLOAD).trial_id == "b"
    assert len(bench.outcomes) == 1


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.INFRA])
def test_what_says_something_of_the_device_is_never_repeated(
    bench: Bench, verdict: Verdict
) -> None:
    bench.outcomes = [record("one", verdict=verdict), record("never")]
    with bench.open() as lab:
        assert lab.trial(DESKTOP, WORKLOAD).trial_id == "one"


def test_the_probe_is_run_once_a_device(bench: Bench) -> None:
    with bench.open() as lab:
        report = lab.probe(DESKTOP)
        assert lab.probe(DESKTOP) is report
    assert bench.opened == ["desktop"]


# ---- faults of the lab's own ----


def test_faults_have_a_budget_and_it_is_the_labs_own(bench: Bench) -> None:
    bench.outcomes += [record(name, verdict=Verdict.INFRA) for name in "abc"]
    bench.outcomes += [record("good")]
    with bench.open(infra_retries=3) as lab:
        assert lab.trial(DESKTOP, WORKLOAD).trial_id == "good"
    assert sorted(bench.stored()) == ["a", "b", "c", "good"]


def test_a_device_that_is_lost_before_a_trial_is_tried_again(bench: Bench) -> None:
    bench.outcomes = [DeviceLostError("the phone cannot be reached"), record("good")]
    with bench.open() as lab:
        assert lab.trial(DESKTOP, WORKLOAD).trial_id == "good"
    assert any("the phone cannot be reached" in line for line in bench.said)


def test_a_device_that_stays_lost_is_an_error_and_no_result(bench: Bench) -> None:
    bench.outcomes += [DeviceLostError("gone") for _ in range(3)]
    with bench.open() as lab, pytest.raises(DeviceLostError):
        lab.trial(DESKTOP, WORKLOAD)
    assert bench.stored() == []
    assert len(bench.outcomes) == 1


@pytest.mark.parametrize(("infra", "tries"), [(True, 2), (False, 1)])
def test_a_probe_is_tried_again_where_the_lab_failed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, infra: bool, tries: int
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ProbeFailedError("no report", infra=infra)

    monkeypatch.setattr(probing, "run_probe", fail)
    with bench.open() as lab, pytest.raises(ProbeFailedError):
        lab.probe(DESKTOP)
    assert len(bench.opened) == tries + (tries - 1)  # a health check before each further try


class Reporter(FakeDevice):
    """A device that can report its state, once."""

    problem: str | None = None

    async def bug_report(self, path: Path, progress: Callable[[str], None]) -> str | None:
        progress("bug report: 1 of 2")
        if self.problem is None:
            path.parent.mkdir()
            path.write_bytes(b"PK")  # noqa: ASYNC240
        return self.problem


@pytest.mark.parametrize("problem", [None, "no bug report: the phone is gone"])
@pytest.mark.parametrize("verdict", [Verdict.OOM, Verdict.OK, Verdict.UNSUPPORTED])
def test_a_bug_report_is_fetched_where_asked_for_and_a_trial_ended_badly(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, verdict: Verdict, problem: str | None
) -> None:
    @asynccontextmanager
    async def device(profile: Profile, _: Path | None) -> AsyncIterator[FakeDevice]:
        reporter = Reporter(profile=profile)
        reporter.problem = problem
        yield reporter

    monkeypatch.setattr(places, "DesktopDevice", device)
    bench.outcomes = [record("one", verdict=verdict)]
    with bench.open(bug_reports=True) as lab:
        lab.trial(DESKTOP, WORKLOAD)
    badly = verdict is Verdict.OOM
    assert (bench.folder / "results/bug-reports/one.zip").exists() is (badly and problem is None)
    assert any("bug report: 1 of 2" in line for line in bench.said) is badly
    assert any(problem in line for line in bench.said) is badly if problem else True


def test_a_device_without_bug_reports_has_none(bench: Bench) -> None:
    bench.outcomes = [record("one", verdict=Verdict.OOM)]
    with bench.open(bug_reports=True) as lab:
        lab.trial(DESKTOP, WORKLOAD)
    assert not (bench.folder / "results/bug-reports").exists()


def test_what_a_device_says_of_itself(bench: Bench) -> None:
    with bench.open() as lab:
        assert lab.facts(DESKTOP).cpu == "a processor"


# ---- another browser, other packages ----


def test_a_trial_of_another_setup_is_another_trial_and_says_so(bench: Bench) -> None:
    bench.outcomes = [record("installed"), record("spoiled", verdict=Verdict.INFRA), record("b")]
    setup = Setup(Path("/b"), mark=Mark(by="browser", side="B", round=0))
    with bench.open() as lab:
        assert mark_of(lab.trial(DESKTOP, WORKLOAD)) is None
        other = lab.trial(DESKTOP, WORKLOAD, setup=setup)
        assert lab.trial(DESKTOP, WORKLOAD, setup=setup) is other
    assert (other.trial_id, mark_of(other)) == ("b", setup.mark)
    assert bench.browsers == [None, Path("/b"), Path("/b"), Path("/b")]  # and a health check
    with Store.open(bench.folder / "results") as store:
        marks = {r.trial_id: mark_of(r) for r in store.records()}
    assert marks == {"installed": None, "spoiled": setup.mark, "b": setup.mark}


def test_each_browser_is_probed_once(bench: Bench) -> None:
    with bench.open() as lab:
        for name in ("/a", "/b", "/b", "/a"):
            lab.probe(DESKTOP, setup=Setup(Path(name)))
    assert bench.browsers == [Path("/a"), Path("/b")]


def test_packages_are_those_of_the_setup_during_the_trial_only(bench: Bench) -> None:
    bench.outcomes = [record("one"), record("two")]
    with bench.open() as lab:
        lab.trial(DESKTOP, WORKLOAD, setup=Setup(node_modules=Path("/packages")))
        lab.trial(DESKTOP, WORKLOAD)
    assert bench.packages == [Path("/packages"), NODE_MODULES]
    assert node_modules() == NODE_MODULES


# ---- what the user must mend ----


def test_a_disk_that_is_full_during_a_trial(bench: Bench) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some/file")
    bench.outcomes = [full]
    with bench.open() as lab, pytest.raises(UserError) as raised:
        lab.trial(DESKTOP, WORKLOAD)
    assert str(raised.value) == (
        "some/file: No space left on device\n  -> free the disk, or choose another --results"
    )


def test_another_fault_of_the_system_stays_what_it_is(bench: Bench) -> None:
    bench.outcomes = [ConnectionResetError(errno.ECONNRESET, "reset")]
    with bench.open() as lab, pytest.raises(ConnectionResetError):
        lab.trial(DESKTOP, WORKLOAD)


def test_a_record_that_cannot_be_stored(bench: Bench) -> None:
    bench.outcomes = [record("lost", "a run that is not noted")]
    with bench.open() as lab, pytest.raises(UserError) as raised:
        lab.trial(DESKTOP, WORKLOAD)
    assert raised.value.problem.startswith("the record of trial lost cannot be stored: ")
    assert raised.value.next_step == "free the disk; the trial must be run again"


def test_a_store_that_cannot_be_opened(bench: Bench) -> None:
    lab = bench.open()
    (bench.folder / "results" / FILE_NAME).write_text("a letter " * 100)
    with pytest.raises(UserError, match="cannot be used: file is not a database"), lab:
        pytest.fail("it opened")


def test_a_state_directory_that_cannot_be_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.folder / "file").write_text("")
    monkeypatch.setenv("TIERLAB_STATE", str(bench.folder / "file" / "state"))
    with pytest.raises(UserError, match="-> set TIERLAB_STATE to a directory"), bench.open():
        pytest.fail("it opened")
    with pytest.raises(UserError, match="cannot be made: Not a directory\n  -> set TIERLAB_STATE"):
        state_directory()


def test_an_interrupt_lets_the_machine_go(bench: Bench) -> None:
    bench.outcomes = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt), bench.open() as lab:
        lab.trial(DESKTOP, WORKLOAD)
    assert bench.stored() == []


# ---- the model file ----


def test_the_users_own_file_is_taken_as_it_is(bench: Bench) -> None:
    own = artifact()
    with bench.open(artifact=own) as lab:
        assert lab._files.of(WORKLOAD, OnnxRecipe()) is own


def test_a_made_file_is_asked_of_the_cache(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def ensure(_: ArtifactCache, model: Any, __: OnnxRecipe, progress: Any) -> Artifact:
        for done in range(0, 101, 5):
            progress(done << 20, 100 << 20)
        return artifact(model.id)

    monkeypatch.setattr("harness.weights.cache.ArtifactCache.ensure", ensure)
    bench.outcomes, bench.asked = [record()], [OnnxRecipe()]
    with bench.open() as lab:
        lab.trial(DESKTOP, WORKLOAD)
    told = [line for line in bench.said if line.startswith("making the model file")]
    assert len(told) == 11  # once every tenth
    assert told[-1] == "making the model file: 100 of 100 MiB"


def test_the_writing_of_a_file_stops_when_the_trial_is_cancelled(bench: Bench) -> None:
    async def write(progress: Callable[[int, int], None]) -> None:
        task = asyncio.current_task()
        assert task is not None
        progress(1, 10)
        task.cancel()
        progress(2, 10)  # what Ctrl-C becomes while the loop stands still
        raise AssertionError("it went on")

    with bench.open() as lab, pytest.raises(asyncio.CancelledError):
        lab._runner.run(write(lab._files.making()))


def test_what_a_killed_run_left_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laboratory, "sweep", lambda: ["tierlab-1"])
    partial = bench.folder / "cache" / ".partial-gemma-2b-1-0123abcd"
    partial.mkdir(parents=True)
    with bench.open():
        assert bench.said == ["cleared what a killed run left: tierlab-1"]
    assert not partial.exists()


def test_another_run_on_this_machine_is_waited_for(bench: Bench) -> None:
    leases = bench.folder / "state" / "leases"
    leases.mkdir(parents=True)
    note = Holder(resource="machine", owner="run x", pid=1, since=datetime.now(UTC))
    (leases / "machine.json").write_text(note.model_dump_json())
    held = FileLock(leases / "machine.lock")
    held.acquire()

    def say(text: str) -> None:
        bench.said.append(text)
        held.release()

    bench.outcomes = [record()]
    with bench.open() as lab:
        lab._say = say
        lab.trial(DESKTOP, WORKLOAD)
    assert bench.said == [f"waiting for machine: held by {note}"]


def test_a_device_that_another_host_holds_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = [HeldElsewhereError("the phone is in use by run x on lab-2")] * 2

    @asynccontextmanager
    async def device(profile: Profile, browser: Path | None = None) -> AsyncIterator[FakeDevice]:
        if busy:
            raise busy.pop()
        async with bench.device(profile, browser) as opened:
            yield opened

    monkeypatch.setattr(places, "DesktopDevice", device)
    monkeypatch.setattr(leasing, "ELSEWHERE_SECONDS", 0.0)
    bench.outcomes = [record("one")]
    with bench.open() as lab:
        assert lab.trial(DESKTOP, WORKLOAD).trial_id == "one"
    told = "waiting for another host: machine: the phone is in use by run x on lab-2"
    assert bench.said == [told, told]
    assert load("machine").condition is Condition.READY


def test_a_device_that_another_host_keeps_is_not_waited_for_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leasing, "WAIT_SECONDS", 0.0)

    def device(*_: object) -> None:
        raise HeldElsewhereError("the phone is in use by run x on lab-2")

    monkeypatch.setattr(places, "DesktopDevice", device)
    with bench.open() as lab, pytest.raises(UserError, match=r"on lab-2, and stayed so") as error:
        lab.trial(DESKTOP, WORKLOAD)
    assert error.value.next_step
    assert load("machine").condition is Condition.READY


def test_a_device_that_another_host_took_is_not_ill(bench: Bench) -> None:
    bench.outcomes = [
        record("taken", verdict=Verdict.INFRA, cause="lease-lost"),
        LeaseLostError("another run took the phone over"),
    ]
    with bench.open(infra_retries=1) as lab:
        assert lab.trial(DESKTOP, WORKLOAD).trial_id == "taken"
    assert load("machine").condition is Condition.READY
    assert load("machine").strikes == 0


# ---- several loads of one workload, and what follows from them ----


def test_a_repeat_is_another_trial(bench: Bench) -> None:
    bench.outcomes = [record(name) for name in ("a", "b", "c", "other")]
    other = replace(WORKLOAD, variant="pruned-50")
    with bench.open() as lab:
        assert lab.trials_of(DESKTOP, WORKLOAD) == []
        rounds = [lab.trial(DESKTOP, WORKLOAD, repeat=number) for number in range(3)]
        lab.trial(DESKTOP, other)
        assert lab.trial(DESKTOP, WORKLOAD, repeat=1) is rounds[1]
        assert lab.trials_of(DESKTOP, WORKLOAD) == rounds
        assert [r.trial_id for r in lab.trials_of(DESKTOP, other)] == ["other"]
    assert sorted(bench.stored()) == ["a", "b", "c", "other"]


def test_a_variant_is_asked_of_the_cache(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[OnnxRecipe] = []

    def ensure(_: ArtifactCache, __: Any, recipe: OnnxRecipe, ___: Any) -> Artifact:
        asked.append(recipe)
        return artifact()

    monkeypatch.setattr("harness.weights.cache.ArtifactCache.ensure", ensure)
    with bench.open() as lab:
        lab._files.of(replace(WORKLOAD, variant="pruned-20"), OnnxRecipe("int8"))
        lab._files.of(WORKLOAD, OnnxRecipe("int8"))
    assert asked == [OnnxRecipe("int8", zero_share=0.2), OnnxRecipe("int8")]


def test_the_users_own_file_has_no_variants(bench: Bench) -> None:
    with bench.open(artifact=artifact()) as lab, pytest.raises(UserError, match="--artifact is"):
        lab._files.of(replace(WORKLOAD, variant="pruned-20"), OnnxRecipe("int8"))


def test_what_is_foreseen_takes_a_probe_and_no_load(bench: Bench) -> None:
    with bench.open() as lab:
        found = lab.foresee(DESKTOP, WORKLOAD)
        lab.foresee(DESKTOP, replace(WORKLOAD, model="gemma-2b"))
    assert found.verdict == "ok"
    assert found.decode_tokens_per_s is not None
    assert bench.opened == ["desktop"] * 3  # one probe, and the device's facts twice
    assert not (bench.folder / "cache").exists() or not list(
        (bench.folder / "cache").glob("gemma*")
    )
    assert bench.stored() == []


def test_findings_are_stored(bench: Bench) -> None:
    found = assess(claims()[0], [record("a")], [record("b")], datetime.now(UTC))
    with bench.open() as lab:
        lab.keep(found)
        assert lab.run_id == "run-1"
        with pytest.raises(UserError, match="a finding cannot be stored"):
            lab.keep(found.model_copy(update={"run_id": "unknown"}))
    with Store.open(bench.folder / "results") as store:
        assert store.outcomes(run_id="run-1") == [found]
