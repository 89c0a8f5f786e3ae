"""What is learned from a record: its terms by today's recipes, and what was measured."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.observing import observe
from harness.probe.predict import sums_of
from harness.probe.report import ProbeReport
from harness.runtimes import find_runtime
from harness.runtimes.base import engine_on
from results.observation import Observation, Quantity
from results.record import Evidence, Kind, Record, Source, Verdict
from tests.harness.probe.samples import demand, second

GPU_RECORDS = Path(__file__).parents[2] / "benchmarks" / "trials" / "nvidia-h200.jsonl"


@cache
def gpu_records() -> tuple[Record, ...]:
    lines = GPU_RECORDS.read_text("utf-8").splitlines()
    return tuple(Record.model_validate_json(line) for line in lines)


def changed(record: Record, **parts: Any) -> Record:
    return record.model_copy(update=parts)


def trial(**changes: Any) -> Record:
    """A load of gemma-3-270m on wllama, by a report with all kernels; `changes` by the part."""
    first = gpu_records()[0]
    assert first.measurement is not None
    parts: dict[str, dict[str, Any]] = {
        "workload": {"runtime": "wllama/wasm", "prompt_tokens": 100, "output_tokens": 20},
        "conditions": {"threads": 2, "host_at_rest": True, "memory_bytes": 16 << 30},
        "device": {"profile": "desktop", "memory_limit_bytes": None},
        "measurement": {
            "download_seconds": 1.5,
            "create_seconds": 2.5,
            "first_token_seconds": 1.2,
            "warm_first_token_seconds": 1.0,
            "decode_ms": {"n": 4, "median": 50.0, "p10": 49.0, "p90": 240.0},
            "token_ms": [1200.0, 90.0, 50.0, 50.0, 50.0, 450.0],
        },
    }
    data = first.model_dump(mode="json")
    for part, values in parts.items():
        data[part] |= values | changes.pop(part, {})
    data |= {"probe": second("chromium_wasm").model_dump(mode="json"), **changes}
    return Record.model_validate_json(json.dumps(data))


def seen(record: Record) -> Observation:
    found = observe(record)
    assert found is not None
    return found


def test_a_trial_is_observed() -> None:
    found = seen(trial())
    assert (found.recipe, found.device, found.threads) == ("wllama/wasm", "desktop", 2)
    assert found.file_bytes == 285_018_624  # as the plan says, and not as the record's download
    assert found.load_bytes == 291_250_464
    assert found.memory_limit_bytes == 16 << 30
    assert found.too_much is None
    assert found.heap_bytes is not None
    assert found.heap_bytes[0] < found.heap_bytes[1]
    assert found.trusted
    assert found.decode_bytes == 268_042_240
    assert found.probe_seconds > 0


def test_the_terms_are_those_of_a_prediction() -> None:
    found = seen(trial())
    report = second("chromium_wasm")
    recipe = engine_on(find_runtime("wllama/wasm"), "q8_0", report)
    asked = demand(
        quantisation="q8_0", prompt=100, output=20, threads=2, file_bytes=found.file_bytes
    )
    for quantity, total in sums_of(report, asked, recipe, None).items():
        terms = found.terms[quantity]
        for name, term in total.terms.items():
            assert terms[name] == pytest.approx(term.base)
    # And every other that a fit may choose.
    assert set(found.terms[Quantity.DECODE]) == {
        *("matrix.q8_0", "body.q8_0", "small", "barrier", "vocabulary"),
        *("serial", "fixed_cpu", "fixed_cores"),
    }
    assert set(found.terms[Quantity.MEMORY]) == {"file", "largest", "kv", "fixed"}


def test_what_was_measured() -> None:
    measured = seen(trial()).measured
    assert measured[Quantity.LOAD] == 4.0
    assert measured[Quantity.FIRST_TOKEN] == 1.2
    assert measured[Quantity.PREFILL] == 1.0  # of the same prompt once more
    # The mean of the last three of four steps: the median would not see that one stalled.
    assert measured[Quantity.DECODE] == pytest.approx(0.55 / 3)
    assert measured[Quantity.MEMORY] > 1e9


def test_a_prompt_that_was_not_run_again_is_its_first_token() -> None:
    once = trial(measurement={"warm_first_token_seconds": None, "download_seconds": None})
    measured = seen(once).measured
    assert measured[Quantity.PREFILL] == measured[Quantity.FIRST_TOKEN]
    assert Quantity.LOAD not in measured


@pytest.mark.parametrize("verdict", [Verdict.OOM, Verdict.CRASH, Verdict.HANG])
def test_nothing_is_measured_of_a_load_that_died(verdict: Verdict) -> None:
    found = seen(changed(trial(), verdict=verdict))
    assert found.measured == {}
    assert found.verdict is verdict
    assert found.terms[Quantity.MEMORY]


@pytest.mark.parametrize(
    "record",
    [
        changed(trial(), verdict=Verdict.INFRA),
        changed(trial(), verdict=Verdict.CASCADE),
        changed(trial(), probe=None),
        changed(trial(), probe={"version": 99}),
        trial(workload={"runtime": "an app"}),
        trial(workload={"model": "a model"}),
        trial(workload={"quantisation": "int5"}),
    ],
)
def test_where_nothing_is_to_be_learned(record: Record) -> None:
    assert observe(record) is None


def test_what_is_unsupported_has_a_reason_and_no_terms() -> None:
    record = trial(artifact=None, workload={"quantisation": "q4_k"})
    found = seen(changed(record, verdict=Verdict.UNSUPPORTED))
    assert found.too_much is not None
    assert "q4_k" in found.too_much
    assert found.terms == {}
    assert found.heap_bytes is None
    assert found.file_bytes == 0


def test_the_limit_is_the_devices_before_the_hosts() -> None:
    limited = trial(device={"memory_limit_bytes": 2 << 30})
    assert seen(limited).memory_limit_bytes == 2 << 30
    phone = seen(trial(device={"profile": "pixel6a"}))
    assert phone.memory_limit_bytes is not None
    assert phone.memory_limit_bytes < 6 << 30


def test_figures_of_a_host_that_was_busy_or_hot_are_not_trusted() -> None:
    assert not seen(trial(conditions={"host_at_rest": False})).trusted
    assert seen(trial(conditions={"host_at_rest": None})).trusted
    hot = Evidence(at_seconds=1, source=Source.THERMAL, kind=Kind.THROTTLED)
    assert not seen(changed(trial(), evidence=(hot,))).trusted


def test_a_users_own_file_has_its_own_size() -> None:
    record = trial()
    assert record.artifact is not None
    real = record.artifact.model_copy(update={"kind": "real", "total_bytes": 300_000_000})
    assert seen(changed(record, artifact=real)).file_bytes == 300_000_000


def test_a_variant_is_planned() -> None:
    pruned = trial(workload={"variant": "pruned-50", "quantisation": "q8_0"})
    assert seen(pruned).file_bytes == pytest.approx(285_018_624, rel=0.01)


def test_facts_and_vector() -> None:
    found = seen(trial())
    assert found.facts.hardware_concurrency == 2
    assert found.facts.duty == pytest.approx(0.964, abs=0.001)
    assert found.facts.stream_bytes_per_s == pytest.approx(0.964 * 20.2e9, rel=0.01)
    assert found.facts.software_adapter is None
    assert 2 ** -found.vector["wasm-n.barrier"] == pytest.approx(6e-6)
    assert 2 ** found.vector["wasm-n.dot_int8"] == pytest.approx(0.964 * 3.6e9, rel=0.01)
    assert {name.partition(".")[0] for name in found.vector} == {"wasm-1", "wasm-n"}


def test_records_with_reports_of_version_1() -> None:
    """Recorded on a GPU before the newer kernels: what can be computed is there."""
    found = [seen(record) for record in gpu_records()]
    assert {o.recipe.rpartition(":")[2] for o in found} == {"gpu"}
    ran = [o for o in found if o.verdict is Verdict.OK]
    assert len(ran) >= 25
    for observation in ran:
        assert set(observation.measured) == set(Quantity)
        assert "operations" in observation.terms[Quantity.DECODE]
        assert observation.terms[Quantity.FIRST_TOKEN]["pipelines"] > 0
        assert all(math.isfinite(x) for t in observation.terms.values() for x in t.values())
        assert observation.facts.software_adapter is False


def test_a_report_of_a_newer_browser_may_say_more() -> None:
    data = second("chromium_h200").model_dump(mode="json")
    data["backends"]["webgpu"]["adapter"]["limits"]["maxNovelties"] = 7
    assert ProbeReport.model_validate(data)
    assert observe(changed(gpu_records()[1], probe=data)) is not None
