"""A and B in one run, from the records alone."""

from __future__ import annotations

from typing import Any

import pytest

from results.record import Record, Verdict
from results.regressions.ab import FACT, Mark, ab_outcomes, mark_of, marked
from results.regressions.comparison import Change
from tests.results.records import record
from tests.results.regressions.rounds import rounds, side


def change(records: list[Record], figure: str = "decode_tokens_per_s") -> Change:
    (outcome,) = ab_outcomes(records)
    return next(c.change for c in outcome.comparisons if c.figure == figure)


def test_b_is_held_against_a_round_by_round() -> None:
    (outcome,) = ab_outcomes(rounds(6, 1.2))
    assert (outcome.a, outcome.b) == ("chromium 156.0.1", "chromium 157.0.1")
    assert (outcome.rounds, outcome.not_at_rest) == (6, 0)
    assert [c.figure for c in outcome.regressed] == [
        "load_seconds", "first_token_seconds", "prefill_tokens_per_s", "decode_tokens_per_s",
    ]  # fmt: skip
    assert change(rounds(6, 1.2), "peak_bytes") is Change.SAME
    assert change(rounds(6, 1.2), "verdict") is Change.SAME


@pytest.mark.parametrize(
    ("n", "factor", "expected"),
    [
        (6, 0.8, Change.IMPROVED),
        (6, 1.01, Change.SAME),
        (5, 1.5, Change.UNDECIDED),
        (6, 1.2, Change.REGRESSED),
    ],
)
def test_what_can_come_of_it(n: int, factor: float, expected: Change) -> None:
    assert change(rounds(n, factor)) is expected


def test_the_order_of_records_does_not_matter() -> None:
    assert ab_outcomes(rounds(6, 1.2)[::-1])[0].comparisons == (
        ab_outcomes(rounds(6, 1.2))[0].comparisons
    )


def test_a_trial_that_the_lab_spoiled_gives_way_to_its_repeat() -> None:
    records = rounds(6, 1.2)
    spoiled = side("B", 0, version="157.0.1", verdict=Verdict.INFRA, measurement=None)
    for mixed in ([spoiled, *records], [*records, spoiled]):
        assert ab_outcomes(mixed)[0].rounds == 6
    lost = [r for r in records if r.trial_id != "B0"]
    assert ab_outcomes([*lost, spoiled])[0].rounds == 5


def test_b_dies_of_what_a_survives() -> None:
    records = [
        r.model_copy(update={"verdict": Verdict.OOM, "measurement": None})
        if r.trial_id.startswith("B")
        else r
        for r in rounds(6, 1.0)
    ]
    (outcome,) = ab_outcomes(records)
    assert [c.figure for c in outcome.regressed] == ["verdict"]
    assert change(records) is Change.UNDECIDED


def test_devices_and_workloads_are_apart() -> None:
    found = ab_outcomes([*rounds(6, 1.2), *rounds(6, 1.0, profile="desktop-2g")])
    assert [(o.profile, bool(o.regressed)) for o in found] == [
        ("desktop", True), ("desktop-2g", False),
    ]  # fmt: skip


def test_one_side_alone_is_no_comparison_yet() -> None:
    only = [r for r in rounds(6, 1.0) if r.trial_id.startswith("A")]
    (outcome,) = ab_outcomes(only)
    assert (outcome.rounds, outcome.b) == (0, "-")
    assert {c.change for c in outcome.comparisons} == {Change.UNDECIDED}


def test_versions_of_a_runtime_name_the_sides() -> None:
    trials = [
        marked(
            record(f"{letter}{number}").model_copy(
                update={
                    "conditions": record().conditions.model_copy(
                        update={"runtime_version": version}
                    )
                }
            ),
            Mark.model_validate({"by": "runtime", "side": letter, "round": number}),
        )
        for number in range(6)
        for letter, version in (("A", "3.8.0"), ("B", "3.8.1"))
    ]
    (outcome,) = ab_outcomes(trials)
    assert (outcome.by, outcome.a, outcome.b) == ("runtime", "3.8.0", "3.8.1")


def test_a_mark_is_read_as_it_was_written() -> None:
    mark = Mark(by="runtime", side="B", round=3, tolerance=0.1)
    whole = marked(record(), mark)
    assert mark_of(Record.model_validate_json(whole.model_dump_json())) == mark


@pytest.mark.parametrize(
    "fact",
    [None, "A", 7, [], {}, {"by": "browser", "side": "C", "round": 0}, {"side": "A"},
     {"by": "browser", "side": "A", "round": -1}],
)  # fmt: skip
def test_what_a_device_says_is_no_mark(fact: Any) -> None:
    conditions = record().conditions.model_copy(update={"facts": {FACT: fact}})
    whole = record(conditions=conditions)
    assert mark_of(whole) is None
    assert ab_outcomes([whole, record()]) == []
