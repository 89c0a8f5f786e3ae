"""What articles claim of quantisation and pruning, held against this device, engine by engine.

    pytest suites/test_claims.py --device=desktop --claim-rounds=3

Long: six artifacts of one model on each engine, loaded in turns, round after round. It runs only
where it is named, or with `-m claims`. A claim that is refuted is a finding and no failure: a test
fails only where a measurement that should have been possible was not made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pytest

from harness.models import Workload, find_model
from harness.runtimes import find_runtime
from results.claims import Claim, Side, Status, assess, claims
from results.record import Judgement, Verdict, WorkloadRecord
from results.response import ANSWER, PROMPT, measured_response, predicted_response

if TYPE_CHECKING:
    from harness.laboratory import Laboratory
    from harness.profiles import Profile
    from results.record import Record
    from results.response import Response

pytestmark = pytest.mark.claims

# The smallest of the catalogue: in fp32 it still fits a browser's 4 GiB.
MODEL: Final = "gemma-3-270m"
ENGINES: Final = ("onnxruntime-web/wasm", "wllama/wasm")
# Named in an article as a model for phones; no browser holds it.
TOO_LARGE: Final = "autoglm-phone-9b"

# By a mark and not by the fixture: a test's id has to begin with its device.
each_engine = pytest.mark.parametrize("engine", ENGINES, indirect=True, scope="session")

NO_STATEMENT: Final = frozenset({Verdict.INFRA, Verdict.CASCADE})


@dataclass(frozen=True, slots=True)
class Loads:
    """All loads of one engine: of each artifact one a round."""

    rounds: int
    records: dict[Side, list[Record]]


def workload(model: str, side: Side, engine: str) -> Workload:
    """A load of one side of a claim, by the engine's own name for its weights."""
    exact = find_runtime(engine).exact_quantisation(find_model(model), side.quantisation)
    return Workload(model, exact, engine, PROMPT, ANSWER, variant=side.variant)


def sides() -> list[Side]:
    """Every artifact that a claim speaks of, once."""
    return list(
        dict.fromkeys(side for claim in claims() for side in (claim.subject, claim.baseline))
    )


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """The engine that a claim is held against."""
    name: str = request.param
    missing = find_runtime(name).missing()
    assert missing is None, missing
    return name


@pytest.fixture(scope="session")
def loads(
    laboratory: Laboratory, profile: Profile, engine: str, request: pytest.FixtureRequest
) -> Loads:
    """Every artifact in turns, so that what changes on the machine meets all of them."""
    rounds: int = request.config.option.claim_rounds
    return load_in_turns(laboratory, profile, engine, rounds)


def load_in_turns(laboratory: Laboratory, profile: Profile, engine: str, rounds: int) -> Loads:
    """Load every artifact of an engine once a round."""
    asked = {side: workload(MODEL, side, engine) for side in sides()}
    records: dict[Side, list[Record]] = {side: [] for side in asked}
    report = laboratory.probe(profile, runtime=engine)  # one for all: it takes seconds
    for number in range(rounds):
        for place, (side, load) in enumerate(asked.items(), start=1):
            laboratory.say(
                f"claims on {engine}: round {number + 1} of {rounds}, "
                f"load {place} of {len(asked)}: {side}"
            )
            records[side].append(laboratory.trial(profile, load, repeat=number, report=report))
    return Loads(rounds, records)


@each_engine
def test_every_load_gave_a_verdict(loads: Loads) -> None:
    """A load that measured nothing by the lab's own fault is never green."""
    failed = [
        f"{side}: {record.explanation}"
        for side, records in loads.records.items()
        for record in records
        if record.verdict in NO_STATEMENT
    ]
    assert not failed
    assert {len(records) for records in loads.records.values()} == {loads.rounds}


@each_engine
@pytest.mark.parametrize("claim", [pytest.param(claim, id=claim.id) for claim in claims()])
def test_claim(laboratory: Laboratory, loads: Loads, claim: Claim) -> None:
    """Confirmed, refuted or not measurable here; any of them is a result that is kept."""
    subject, baseline = loads.records[claim.subject], loads.records[claim.baseline]
    outcome = assess(claim, subject, baseline, datetime.now(UTC))
    laboratory.keep(outcome)
    laboratory.say(f"{claim.text}: {outcome.status} ({outcome.explanation})")
    verdicts = {*outcome.subject.verdicts, *outcome.baseline.verdicts}
    assert not verdicts & NO_STATEMENT, outcome.explanation
    if verdicts == {Verdict.OK}:
        assert outcome.ratio is not None, outcome.explanation
        assert outcome.ratio.n == loads.rounds, outcome.explanation
    else:
        assert outcome.status is Status.NOT_MEASURABLE
        assert outcome.explanation


@each_engine
@pytest.mark.parametrize(
    "side", [pytest.param(side, id="-".join(str(side).split())) for side in sides()]
)
def test_response_time_of_what_was_loaded(laboratory: Laboratory, loads: Loads, side: Side) -> None:
    """Three seconds for an answer, warm and cold: kept or missed, by the clock."""
    response = measured_response(loads.records[side], datetime.now(UTC))
    _keep(laboratory, response)
    if any(record.verdict is Verdict.OK for record in loads.records[side]):
        assert response.warm_seconds is not None, response.explanation
        assert response.cold_seconds is not None, response.explanation


def test_response_time_of_what_was_asked_for(
    laboratory: Laboratory, profile: Profile, workload: Workload
) -> None:
    """The workloads of the command line: from their loads of this run, or as predicted."""
    ran = [r for r in laboratory.trials_of(profile, workload) if r.verdict not in NO_STATEMENT]
    if ran:
        response = measured_response(ran, datetime.now(UTC))
    else:
        response = _predicted(
            laboratory, profile, workload.model, workload.quantisation, workload.runtime
        )
    _keep(laboratory, response)
    assert response.explanation or response.warm_seconds, "neither a figure nor a reason"


@each_engine
def test_a_model_for_phones_is_refused_before_it_is_downloaded(
    laboratory: Laboratory, profile: Profile, engine: str
) -> None:
    """Foreseen, and without a byte of it: the prediction says why."""
    asked = workload(TOO_LARGE, Side("int4"), engine)
    response = _predicted(laboratory, profile, asked.model, asked.quantisation, engine)
    _keep(laboratory, response)
    record = laboratory.trial(profile, asked)
    assert record.verdict not in NO_STATEMENT, record.explanation
    assert record.verdict in {Verdict.UNSUPPORTED, Verdict.OOM}
    assert record.prediction.verdict in {"unsupported", "oom"}
    assert record.prediction.reason
    assert record.judgement is Judgement.RIGHT, record.judgement_reason
    if record.verdict is Verdict.UNSUPPORTED:
        assert record.artifact is None, "the file was made all the same"
        assert record.measurement is None, "something was loaded all the same"


def _predicted(
    laboratory: Laboratory, profile: Profile, model: str, quantisation: str, engine: str
) -> Response:
    asked = Workload(model, quantisation, engine, PROMPT, ANSWER)
    return predicted_response(
        WorkloadRecord(
            model=model,
            quantisation=quantisation,
            runtime=engine,
            prompt_tokens=PROMPT,
            output_tokens=ANSWER,
        ),
        laboratory.foresee(profile, asked),
        run_id=laboratory.run_id,
        profile=profile.id,
        at=datetime.now(UTC),
    )


def _keep(laboratory: Laboratory, response: Response) -> None:
    laboratory.keep(response)
    name = f"{response.model}/{response.quantisation} {response.variant}".rstrip()
    laboratory.say(
        f"an answer of {name} on {response.runtime}: warm {response.warm}, cold {response.cold}"
    )
