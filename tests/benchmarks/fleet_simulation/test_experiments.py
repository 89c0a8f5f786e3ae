"""From measured trials to a table, by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from benchmarks.fleet_simulation import __main__ as command
from benchmarks.fleet_simulation.experiments import (
    GROUPS,
    HEADS,
    Losses,
    Scenario,
    losses_of,
    row,
    run,
)
from benchmarks.fleet_simulation.lab import Size, make_lab
from benchmarks.fleet_simulation.parameters import Parameters, load_entries, load_parameters
from benchmarks.fleet_simulation.trials import Load, measured_loads
from harness.errors import UserError
from results.record import Verdict
from tests.results.records import record

if TYPE_CHECKING:
    from pathlib import Path

SMALL = Size(phones=40, hosts=4, devices_a_profile=4, trials_a_device=3)
LOADS = {"quick": [Load(5.0, 30_000_000), Load(9.0, 60_000_000)], "slow": [Load(80.0, 1)]}


def test_loads_are_those_that_took_time_of_classes_with_enough_of_them(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    records = [record(f"good-{n}") for n in range(4)]
    records.append(
        record("refused", verdict=Verdict.UNSUPPORTED).model_copy(update={"measurement": None})
    )
    path.write_text("".join(f"{one.model_dump_json()}\n" for one in records))
    assert measured_loads(path) == {"desktop": [Load(30.0, 0)] * 4}
    path.write_text("".join(f"{one.model_dump_json()}\n" for one in records[1:]))
    with pytest.raises(UserError, match="no device class"):
        measured_loads(path)
    with pytest.raises(UserError, match="No such file"):
        measured_loads(tmp_path / "missing")


def test_every_parameter_has_a_source_and_every_figure_a_parameter() -> None:
    assert set(load_entries()) == set(Parameters.model_fields)
    assert load_parameters({"usb_links": 3}).usb_links == 3
    with pytest.raises(ValidationError):
        load_parameters({"fault_rate": 1.5})


def test_a_lab_is_spread_evenly_and_a_profile_over_hosts() -> None:
    lab = make_lab(SMALL, LOADS, load_parameters(), night_seconds=3600, seed=1)
    for host in range(SMALL.hosts):
        assert sum(phone.host == host for phone in lab.phones) == 10
    for profile in range(10):
        assert len({phone.host for phone in lab.phones if phone.profile == profile}) == 4
        assert len(lab.requests[profile]) == 12
    with pytest.raises(UserError, match="do not divide"):
        Size(phones=41, hosts=4)


def test_a_change_of_faults_leaves_the_requests_as_they_were() -> None:
    one, other = (
        make_lab(SMALL, LOADS, load_parameters({"dead_share": d}), night_seconds=3600, seed=7)
        for d in (0.0, 0.5)
    )
    assert one.requests == other.requests
    assert one.phones != other.phones


def test_the_same_seed_gives_the_same_night() -> None:
    scenario = Scenario("x", losses=Losses(workers=0.5, hosts=0.25, controller=2))
    assert run(scenario, SMALL, LOADS, seed=3) == run(scenario, SMALL, LOADS, seed=3)
    assert run(scenario, SMALL, LOADS, seed=3) != run(scenario, SMALL, LOADS, seed=4)


def test_what_is_lost_is_as_much_as_was_said() -> None:
    parameters = load_parameters()
    lab = make_lab(SMALL, LOADS, parameters, night_seconds=3600, seed=1)
    losses = losses_of(Losses(0.5, 0.5, 1), lab, parameters, seed=1)
    assert [len(loss.phones) for loss in losses] == [1] * 20 + [10] * 2 + [40]


@pytest.mark.parametrize("group", GROUPS)
def test_every_scenario_settles_every_request(group: str) -> None:
    for scenario in GROUPS[group]:
        devices = min(scenario.devices_a_profile or 4, 20)
        size = Size(phones=40, hosts=4, devices_a_profile=devices, trials_a_device=2)
        if size.phones % (scenario.devices_a_profile or 1):
            continue
        outcome = run(scenario, size, LOADS, seed=1)
        assert outcome.recorded + outcome.lost + outcome.not_reached == outcome.requested > 0
        assert outcome.tries["recorded"] == outcome.recorded
        assert 0 < outcome.utilisation <= 1
        assert 0 <= outcome.wasted_share < 1
        if not outcome.lost + outcome.not_reached:
            assert outcome.over_bound >= 1 - 1e-9


def test_a_row_tells_the_spread() -> None:
    outcomes = [run(Scenario("x"), SMALL, LOADS, seed=seed) for seed in (1, 2, 3)]
    cells = row("x", outcomes)
    assert len(cells) == len(HEADS)
    assert (cells[0], cells[-1], cells[6]) == ("x", "3", "120")
    assert " to " in cells[1]


def test_a_parameter_is_changed_by_its_name() -> None:
    assert command.changes(["fault_rate=0.5", "usb_links=1"]) == {"fault_rate": 0.5, "usb_links": 1}
    with pytest.raises(UserError, match="did you mean fault_rate"):
        command.changes(["fault_rat=1"])
    with pytest.raises(UserError, match="no value of fault_rate"):
        command.changes(["fault_rate=many"])
    with pytest.raises(UserError, match="no value of fault_rate"):
        command.changes(["fault_rate=2"])
