"""One trial on a device that plays a script: every way through it ends in a record."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness.devices.base import Gate
from harness.errors import UserError
from harness.load import Deadlines
from harness.models import Workload
from harness.probe.report import Adapter, ProbeReport
from harness.profiles import load_profiles
from harness.recording import adapter_name
from harness.runtimes import find_runtime
from harness.trial import (
    TrialSettings,
    memory_budget,
    probed,
    prompt_ids,
    run_trial,
    version_gate,
)
from harness.web.server import Server
from results.record import Judgement, Kind, Record, Source, Verdict
from results.tiers import Tier
from tests.harness.fakes import REPORT, FakeDevice, LostDevice, artifact, load_well, probe_well

if TYPE_CHECKING:
    from pathlib import Path

    from harness.devices.base import OnEvent
    from harness.evidence import Timeline
    from harness.weights.artifact import Artifact
    from harness.weights.plan import Recipe

WORKLOAD = Workload("gemma-3-270m", "int4", "onnxruntime-web/wasm", 16, 4)


def no_artifact(_: Recipe) -> Artifact:
    raise AssertionError("nothing may be made here")


def run(
    device: FakeDevice,
    folder: Path,
    *,
    workload: Workload = WORKLOAD,
    made: Artifact | None = None,
    deadlines: Deadlines | None = None,
    report: ProbeReport | None = None,
) -> tuple[Record, list[str]]:
    """The record of a trial, and what was said on the way."""
    said: list[str] = []
    found = asyncio.run(
        run_trial(
            device,
            workload,
            artifact_source=(lambda _: made) if made else no_artifact,
            server=Server(url="http://127.0.0.1:1", artifacts={}),
            settings=TrialSettings("run-1", folder, deadlines=deadlines or Deadlines(5, 5)),
            report=report,
            progress=said.append,
        )
    )
    assert Record.model_validate_json(found.model_dump_json()) == found
    assert found.run_id == "run-1"
    assert (folder / "trials" / found.trial_id).is_dir()
    return found, said


# ---- what goes well ----


def test_a_load_that_goes_well(tmp_path: Path) -> None:
    device = FakeDevice(probe_well, load_well)
    found, said = run(device, tmp_path, made=artifact())

    assert found.verdict is Verdict.OK
    assert found.prediction.verdict == "ok"
    assert found.tiers.prefill is Tier.MEDIUM
    assert found.tiers.decode is Tier.HIGH
    assert found.tiers.pair is Tier.MEDIUM
    assert found.judgement in {Judgement.RIGHT, Judgement.UNDER_PROMISE, Judgement.OVER_PROMISE}
    measured = found.measurement
    assert measured is not None
    assert measured.prefill_tokens_per_s == pytest.approx(100)
    assert measured.decode_tokens_per_s == pytest.approx(25)  # without the second token's 90 ms
    assert (measured.download_seconds, measured.create_seconds) == (1.0, 2.0)
    assert measured.tokens == (5, 6, 7, 8)
    assert [p.name for p in measured.phases] == ["download", "create", "first-token", "decode"]
    assert measured.bytes_loaded == 10
    assert measured.memory.processes == {"renderer": 7, "gpu": 1}
    assert measured.memory.group_peak_bytes == 9
    assert (measured.cpu_seconds, measured.throttled_seconds) == (1.5, 0.25)
    assert measured.detection_seconds is None
    assert found.artifact is not None
    assert found.artifact.total_bytes == 200_000_000
    assert found.conditions.cross_origin_isolated is True
    assert found.conditions.browser_version == "140.0.1"
    assert found.probe is not None
    assert any(line.startswith("predicted: ok") for line in said)
    assert said[-1] == "verdict: ok (4 tokens came out)"


def test_a_device_that_was_probed_is_not_probed_again(tmp_path: Path) -> None:
    device = FakeDevice(load_well)
    report = ProbeReport.model_validate(REPORT)
    found, _ = run(device, tmp_path, made=artifact(), report=report)
    assert found.verdict is Verdict.OK
    assert found.probe == report.model_dump(mode="json")
    assert len(device.sessions) == 1


def test_the_page_is_told_what_to_load(tmp_path: Path) -> None:
    device = FakeDevice(probe_well, load_well)
    run(device, tmp_path, made=artifact())
    probe, load = (session.tabs[0].calls for session in device.sessions)
    ((function, asked),) = probe
    assert function == "tierlabProbe"
    kernels = asked.pop("kernels")
    assert asked == {"budgetMs": 1200, "seed": 1, "backends": ["wasm"]}
    # What the engine is predicted from with such weights, and what the browser is compared by.
    assert set(kernels) == {
        *("int4_layer", "int4_head", "dequant_int4", "gemm_m16"),
        *("attention", "barrier", "chain", "stream"),
    }
    ((function, job),) = load
    assert function == "tierlabStart"
    assert job["workload"] == str(WORKLOAD)
    assert len(job["prompt"]["ids"]) == len(job["prompt"]["text"].split()) == 16
    assert job["host"] == "worker"
    assert job["gpuBytes"] == 0
    assert job["outputTokens"] == 4
    assert job["tombstone"] is False
    assert job["source"]["kind"] == "network"
    assert job["source"]["files"][0]["url"] == "/artifacts/gemma-3-270m-int4/model.onnx"


def test_what_is_probed_for_an_engine() -> None:
    gpu = probed(find_runtime("mediapipe/webgpu"))
    assert gpu.backends == ("wasm", "webgpu")  # the processor's too: it loads
    assert gpu.kernels
    assert {"gemv_int4", "gemv_int8", "matmul", "submit", "chain"} < set(gpu.kernels)
    one = probed(find_runtime("wllama/wasm"), "q8_0")
    assert one.backends == ("wasm",)
    assert one.kernels == ("barrier", "chain", "dot_int8", "small_ops", "stream")
    native = probed(find_runtime("llama.cpp/native"), "q8_0")
    assert (native.backends, native.kernels) == (("wasm",), ("chain", "stream"))


def test_the_raw_evidence_is_kept_beside_the_record(tmp_path: Path) -> None:
    found, _ = run(FakeDevice(probe_well, load_well), tmp_path, made=artifact())
    assert set(found.files) == {
        "browser-stderr.log",
        "memory-curve.json",
        "probe/browser-stderr.log",
        "screenshot.png",
    }
    curve = json.loads((tmp_path / found.files["memory-curve.json"]).read_text())
    assert curve == [{"at_seconds": 0.5, "processes": {"renderer": 7}, "group_bytes": 9}]


def test_an_engine_outside_of_a_browser(tmp_path: Path) -> None:
    device = FakeDevice(probe_well, load_well)
    workload = Workload("gemma-3-270m", "q8_0", "llama.cpp/native", 16, 4)
    found, _ = run(device, tmp_path, workload=workload, made=artifact())
    assert found.verdict is Verdict.OK
    assert len(device.sessions) == 1  # the probe: it is the same hardware
    [(module, job)] = device.children[0].started
    assert module == "harness.engines.llama_cpp"
    assert job["outputTokens"] == 4
    assert "source" not in job


def test_on_a_phone_the_page_leaves_word_and_engines_stay_in_the_browser(tmp_path: Path) -> None:
    phone = FakeDevice(probe_well, load_well, profile=load_profiles()["pixel7"])
    assert run(phone, tmp_path, made=artifact())[0].verdict is Verdict.OK
    assert phone.sessions[1].tabs[0].calls[0][1]["tombstone"] is True
    native = Workload("gemma-3-270m", "q8_0", "llama.cpp/native", 16, 4)
    found, _ = run(FakeDevice(profile=load_profiles()["pixel7"]), tmp_path, workload=native)
    assert (found.verdict, found.cause) == (Verdict.UNSUPPORTED, "not-possible")
    assert "runs on this machine, and not on Google Pixel 7" in found.explanation


def test_a_source_that_needs_an_ordinary_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERLAB_CACHE", str(tmp_path / "cache"))
    device = FakeDevice(probe_well, load_well)
    found, _ = run(device, tmp_path, workload=replace(WORKLOAD, source="opfs"), made=artifact())
    assert found.workload.source == "opfs"
    assert device.persistent is not None
    assert not device.persistent.exists()  # gone with the trial
    assert device.sessions[1].tabs[0].calls[0][1]["source"]["kind"] == "opfs"


def test_a_source_that_the_user_picks(tmp_path: Path) -> None:
    device = FakeDevice(probe_well, load_well)
    run(device, tmp_path, workload=replace(WORKLOAD, source="file"), made=artifact())
    picked, started = device.sessions[1].tabs[0].calls
    assert picked[0] == "#files"
    assert [path.name for path in picked[1]] == ["model.onnx"]
    assert started[0] == "tierlabStart"


# ---- what ends before the load ----


def test_a_closed_gate_is_the_labs_own_fault(tmp_path: Path) -> None:
    device = FakeDevice()
    device.gate = Gate(name="temperature", passed=False, observed="90 C", limit="at most 45 C")
    found, _ = run(device, tmp_path)
    assert found.verdict is Verdict.INFRA
    assert "temperature is 90 C, the limit is at most 45 C" in found.explanation
    assert found.prediction.verdict == "unknown"
    assert found.judgement is Judgement.UNKNOWN
    assert found.tiers.pair is None
    assert found.measurement is None
    assert device.sessions == []


def test_a_load_on_a_device_that_another_run_took_says_nothing(tmp_path: Path) -> None:
    device = FakeDevice(probe_well, load_well)
    device.taken_by = "another run took the phone over"
    found, _ = run(device, tmp_path, made=artifact())
    assert (found.verdict, found.cause) == (Verdict.INFRA, "lease-lost")
    assert "another run took the phone over" in found.explanation
    assert found.judgement is Judgement.UNKNOWN
    assert found.tiers.pair is None


def test_an_old_browser_is_unsupported(tmp_path: Path) -> None:
    device = FakeDevice()
    device.version = "109.0.5414"
    found, _ = run(device, tmp_path)
    assert found.verdict is Verdict.UNSUPPORTED
    assert found.explanation == "chromium 109.0.5414 is older than version 110"
    assert found.prediction.verdict == "unsupported"
    assert found.tiers.pair is Tier.UNSUPPORTED
    assert found.judgement is Judgement.RIGHT
    assert device.sessions == []


def probe_dies(_: OnEvent, timeline: Timeline) -> None:
    timeline.add(Source.CDP, Kind.RENDERER_GONE, status="crashed", code=11)


def probe_talks_nonsense(emit: OnEvent, _: Timeline) -> None:
    emit({"type": "probe-report", "report": {"schema": "\ud800"}})


@pytest.mark.parametrize("script", [probe_dies, probe_talks_nonsense])
def test_a_probe_that_fails_is_the_labs_own_fault(script: object, tmp_path: Path) -> None:
    device = FakeDevice(script)  # type: ignore[arg-type]
    found, _ = run(device, tmp_path)
    assert found.verdict is Verdict.INFRA
    assert "the probe failed: " in found.explanation
    assert found.probe is None
    assert found.judgement is Judgement.UNKNOWN
    assert len(device.sessions) == 1


def test_a_page_that_cannot_be_opened(tmp_path: Path) -> None:
    found, _ = run(LostDevice(probe_well), tmp_path)
    assert found.verdict is Verdict.INFRA
    assert "could not be opened" in found.explanation


def test_an_engine_that_cannot_run_here_is_unsupported(tmp_path: Path) -> None:
    device = FakeDevice(probe_well)  # a report without a WebGPU adapter
    workload = replace(WORKLOAD, runtime="onnxruntime-web/webgpu")
    found, _ = run(device, tmp_path, workload=workload)
    assert found.verdict is Verdict.UNSUPPORTED
    assert "WebGPU" in found.explanation
    assert found.probe is not None
    assert found.judgement is Judgement.RIGHT


def test_an_artifact_of_another_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not gemma-3-270m: it has layers = 26, gemma-3-270m"):
        run(FakeDevice(probe_well), tmp_path, made=artifact("gemma-3-1b-it"))


# ---- loads that end badly ----


def dies_of_memory(emit: OnEvent, timeline: Timeline) -> None:
    emit({"type": "phase", "name": "create", "at_ms": 0})
    timeline.add(Source.CGROUP, Kind.OOM_KILL, kills=1, counter="a counter")
    timeline.add(Source.CDP, Kind.RENDERER_GONE, status="killed", code=9)


def crashes(emit: OnEvent, timeline: Timeline) -> None:
    emit({"type": "phase", "name": "create", "at_ms": 0})
    timeline.add(Source.CDP, Kind.RENDERER_GONE, status="crashed", code=11)


def says_an_error(emit: OnEvent, _: Timeline) -> None:
    emit({"type": "phase", "name": "create", "at_ms": 0})
    emit({"type": "error", "name": "Error", "message": "half a character: \ud800"})


def says_nonsense(emit: OnEvent, _: Timeline) -> None:
    emit({"type": "tokens", "ids": "many"})


def finishes_without_tokens(emit: OnEvent, _: Timeline) -> None:
    emit({"type": "done", "at_ms": 1, "tokens": 0, "finite": True})


def is_silent(_: OnEvent, __: Timeline) -> None:
    pass


@pytest.mark.parametrize(
    ("script", "verdict", "words"),
    [
        (dies_of_memory, Verdict.OOM, "create"),
        (crashes, Verdict.CRASH, "crashed during create (crashed, signal 11)"),
        (says_an_error, Verdict.CRASH, "half a character: ?"),
        (says_nonsense, Verdict.INFRA, "malformed page event"),
        (finishes_without_tokens, Verdict.CRASH, "without a single token"),
        (is_silent, Verdict.HANG, "nothing came out of start"),
    ],
)
def test_a_load_that_ends_badly(
    script: object, verdict: Verdict, words: str, tmp_path: Path
) -> None:
    device = FakeDevice(probe_well, script)  # type: ignore[arg-type]
    found, _ = run(device, tmp_path, made=artifact(), deadlines=Deadlines(0.05, 0.05))
    assert found.verdict is verdict
    assert words in found.explanation
    assert found.measurement is not None
    assert found.evidence
    assert device.sessions[1].settled > 0
    if verdict is Verdict.INFRA:
        assert found.tiers.pair is None
        assert found.judgement is Judgement.UNKNOWN
    else:
        assert found.tiers.pair is Tier.UNSUPPORTED
        assert found.judgement is Judgement.OVER_PROMISE


def test_a_death_is_measured_from_its_first_sign(tmp_path: Path) -> None:
    found, _ = run(FakeDevice(probe_well, dies_of_memory), tmp_path, made=artifact())
    assert found.measurement is not None
    assert found.measurement.detection_seconds is not None
    assert found.measurement.detection_seconds >= 0
    assert [e.kind for e in found.evidence][-2:] == [Kind.OOM_KILL, Kind.RENDERER_GONE]


# ---- its parts ----


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("110.0", None),
        ("200", None),
        ("99.1", "chromium 99.1 is older than version 110"),
        ("", "chromium does not say its version"),
    ],
)
def test_the_version_gate(version: str, said: str | None) -> None:
    host = replace(asyncio.run(FakeDevice().facts()), browser_version=version)
    assert version_gate(load_profiles()["desktop"], host) == said


def test_the_memory_budget_is_the_limit_or_the_hosts_memory() -> None:
    host = asyncio.run(FakeDevice().facts())
    limited = memory_budget(load_profiles()["desktop-2g"], host)
    assert (limited.limit_bytes, limited.source) == (2 << 30, "the profile's memory limit")
    assert memory_budget(load_profiles()["desktop"], host).limit_bytes == 16 << 30
    pixel = load_profiles()["pixel7"]
    assert pixel.app_memory is not None
    phone = memory_budget(pixel, host)
    assert phone.limit_bytes == pixel.app_memory.available < 16 << 30
    assert phone.source == "what the profile gives one app"


def test_a_prompt_has_distinct_tokens_of_the_vocabulary() -> None:
    tokens = prompt_ids(1000, 50_304)
    assert len(set(tokens)) == 1000
    assert all(0 <= token < 50_304 for token in tokens)
    assert tokens == prompt_ids(1000, 50_304)


@pytest.mark.parametrize(
    ("info", "name"),
    [({"vendor": "arm", "architecture": "", "description": "Mali"}, "arm Mali"), ({}, "unnamed")],
)
def test_the_name_of_an_adapter(info: dict[str, str], name: str) -> None:
    assert adapter_name(Adapter.model_construct(info=info)) == name
