"""What is published of a trial, and what is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from results.matrix.evidence import published
from results.matrix.redact import Redactor
from results.matrix.schema import to_json
from results.matrix.write import write_matrix
from results.record import Evidence, Kind, OfflineLoad, Phase, Source, Verdict
from tests.results.matrix.stores import matrix_of, store_of, trial, with_conditions, with_device
from tests.results.records import record

if TYPE_CHECKING:
    from pathlib import Path

    from results.record import Record

SECRETS = ("lab-host-7", "/home/ann", "ann", "R5CT1234", "hf_secret", "run-of-the-lab")


def private_record() -> Record:
    """A record with private things wherever free text is."""
    said = "lab-host-7 could not read /home/ann/models/x.onnx (HF_TOKEN=hf_secret)"
    base = with_conditions(
        with_device(record(run_id="run-of-the-lab"), host="lab-host-7"),
        facts={"serial": "R5CT1234", "account": "ann"},
    )
    assert base.measurement is not None
    measurement = base.measurement.model_copy(
        update={
            "offline": OfflineLoad(worked=False, reason=said),
            "phases": (Phase(name=said, wall_seconds=1.0),),
        }
    )
    return base.model_copy(
        update={
            "explanation": said,
            "judgement_reason": said,
            "prediction": base.prediction.model_copy(update={"reason": said}),
            "measurement": measurement,
            "evidence": (
                Evidence(
                    at_seconds=1.0,
                    source=Source.PAGE,
                    kind=Kind.ENGINE_ERROR,
                    detail={"message": said, "env": {"HF_TOKEN": "hf_secret"}},
                ),
            ),
            "probe": {"hostname": "lab-host-7"},
            "files": {"console.log": "/home/ann/results/trials/1/console.log"},
        }
    )


def test_nothing_private_is_published() -> None:
    text = to_json(published(private_record(), Redactor((), ["lab-host-7"]), with_curve=False))
    assert "could not read …/x.onnx (HF_TOKEN=…" in text
    assert not [secret for secret in SECRETS if secret in text]


def test_what_was_seen_is_published() -> None:
    shown = published(record(), Redactor((), ()), with_curve=True)
    given = record()
    for name in (
        "verdict",
        "cause",
        "explanation",
        "evidence",
        "prediction",
        "measurement",
        "tiers",
    ):
        assert getattr(shown, name) == getattr(given, name)
    assert shown.conditions == given.conditions
    assert shown.memory_curve == "trial-1.memory.json"
    assert shown.evidence_left_out == 0


def test_of_very_much_evidence_the_beginning_and_the_end_are_published() -> None:
    items = tuple(
        Evidence(at_seconds=float(second), source=Source.PAGE, kind=Kind.PHASE)
        for second in range(1000)
    )
    shown = published(record(evidence=items), Redactor((), ()), with_curve=False)
    assert len(shown.evidence) == 400
    assert shown.evidence_left_out == 600
    assert (shown.evidence[0].at_seconds, shown.evidence[-1].at_seconds) == (0.0, 999.0)


# ---- the files ----


def write_curve(results: Path, samples: int) -> dict[str, str]:
    folder = results / "trials" / "x"
    folder.mkdir(parents=True)
    curve = [
        {"at_seconds": at, "processes": {"renderer": 9 if at == 777 else 1}, "group_bytes": at}
        for at in range(samples)
    ]
    (folder / "memory-curve.json").write_text(json.dumps(curve))
    return {"memory-curve.json": "trials/x/memory-curve.json"}


def written(results: Path, *records: Record) -> Path:
    folder = results / "out"
    folder.mkdir(parents=True)
    with store_of(records) as store:
        told = write_matrix(matrix_of(*records), store, results, folder)
    assert told.without_evidence == ()
    return folder / "evidence"


def test_every_cell_has_its_evidence_and_memory_curve(tmp_path: Path) -> None:
    files = write_curve(tmp_path, 1000)
    folder = written(tmp_path, trial(1, verdict=Verdict.OOM, files=files))
    body = json.loads((folder / "trial-001.json").read_text())
    assert body["verdict"] == "oom"
    curve = json.loads((folder / body["memory_curve"]).read_text())
    assert len(curve) <= 200
    assert max(sample["processes"]["renderer"] for sample in curve) == 9, "the peak is kept"
    assert curve[-1]["group_bytes"] == 999


def test_a_trial_without_a_curve_names_none(tmp_path: Path) -> None:
    folder = written(tmp_path, trial(1))
    assert json.loads((folder / "trial-001.json").read_text())["memory_curve"] is None
    assert [path.name for path in folder.iterdir()] == ["trial-001.json"]


def test_a_curve_outside_of_the_results_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    write_curve(tmp_path, 10)
    files = {"memory-curve.json": "../trials/x/memory-curve.json"}
    folder = written(tmp_path / "results", trial(1, files=files))
    assert [path.name for path in folder.iterdir()] == ["trial-001.json"]


def test_an_id_that_is_no_file_name(tmp_path: Path) -> None:
    folder = written(tmp_path, record("../../escaped"))
    (path,) = folder.iterdir()
    assert json.loads(path.read_text())["trial_id"] == "../../escaped"


def test_a_damaged_record_is_told_and_costs_nothing_else(tmp_path: Path) -> None:
    records = [trial(1), with_device(trial(2), profile="other")]
    with store_of(records) as store:
        with store.transaction() as connection:
            connection.execute("UPDATE records SET body = '{}' WHERE trial_id = 'trial-001'")
        told = write_matrix(matrix_of(*records), store, tmp_path, tmp_path)
    assert told.without_evidence == ("trial-001",)
    assert [path.name for path in (tmp_path / "evidence").iterdir()] == ["trial-002.json"]
