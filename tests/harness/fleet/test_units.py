"""Which tests stay together, where they run, and what begins first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.fleet.units import Dealer, Lane, Subject, Unit, lanes_of, subject_of, units_of

PHONES = Lane(("pixel7",), 2)
MACHINE = Lane(("desktop", "desktop-1g"), 1)
WORKLOADS = ("gemma-2b-int4-a/wasm", "gemma-2b-int4-a/wasm-opfs", "gemma-7b-int4-a/wasm")


def by_size(subject: Subject, tests: object) -> float:
    """The larger model takes longer."""
    del tests
    return {"gemma-7b-int4-a/wasm": 70.0, "": 100.0}.get(subject.workload, 20.0)


def test_profiles_whose_devices_overlap_share_a_lane() -> None:
    lanes = lanes_of(
        {
            "desktop": ("machine",),
            "pixel7": ("phone-A", "phone-B"),
            "iphone": ("ios-iphone",),
            "desktop-1g": ("machine",),
            "galaxy": ("phone-C",),
            "any": ("phone-B", "phone-C"),
        }
    )
    assert set(lanes) == {
        Lane(("desktop", "desktop-1g"), 1),
        Lane(("iphone",), 1),
        Lane(("pixel7", "galaxy", "any"), 3),
    }


@pytest.mark.parametrize(
    ("node_id", "profile", "workload"),
    [
        ("suites/test_a.py::test_b[desktop]", "desktop", ""),
        ("suites/test_a.py::test_b[desktop-1g]", "desktop-1g", ""),
        ("a.py::b[desktop-gemma-2b-int4-a/wasm]", "desktop", "gemma-2b-int4-a/wasm"),
        ("a.py::b[desktop-1g-gemma-2b-int4-a/wasm]", "desktop-1g", "gemma-2b-int4-a/wasm"),
        ("a.py::b[desktop-gemma-2b-int4-a/wasm-opfs]", "desktop", "gemma-2b-int4-a/wasm-opfs"),
        ("a.py::b[desktop-10g]", "desktop", ""),
        ("a.py::b[desktop-an-app]", "desktop", ""),
        ("a.py::b[gemma-2b-int4-a/wasm]", "", ""),
        ("a.py::b", "", ""),
    ],
)
def test_what_a_test_is_about(node_id: str, profile: str, workload: str) -> None:
    found = subject_of(node_id, ["desktop", "desktop-1g"], WORKLOADS)
    assert found == Subject(profile, workload)


def test_a_lane_of_one_device_keeps_the_order_of_its_profiles() -> None:
    tests = [
        "environment.py::a[desktop]",
        "full_load.py::a[desktop-gemma-2b-int4-a/wasm]",
        "full_load.py::a[desktop-gemma-7b-int4-a/wasm]",
        "environment.py::a[desktop-1g]",
    ]
    units = units_of(tests, [MACHINE], WORKLOADS, by_size)
    assert units == {MACHINE: [Unit(tuple(tests[:3]), 190.0), Unit((tests[3],), 100.0)]}


def test_several_devices_share_workloads_the_longest_first() -> None:
    tests = [
        "environment.py::a[pixel7]",
        "full_load.py::a[pixel7-gemma-2b-int4-a/wasm]",
        "full_load.py::a[pixel7-gemma-7b-int4-a/wasm]",
        "oom.py::a[pixel7-gemma-2b-int4-a/wasm]",
        "elsewhere.py::a",
    ]
    units = units_of(tests, [PHONES], WORKLOADS, by_size)
    assert [unit.tests for unit in units[PHONES]] == [
        (tests[0],),  # what needs no model tells early that a device is not well
        (tests[2],),
        (tests[1], tests[3]),
    ]
    assert units[Lane((), 1)] == [Unit((tests[4],), 100.0)]


def unit(name: str, seconds: float) -> Unit:
    return Unit((name,), seconds)


def test_a_worker_keeps_to_its_lane_and_then_goes_to_the_longest() -> None:
    dealer = Dealer(
        {
            MACHINE: [unit("m1", 10), unit("m2", 10)],
            PHONES: [unit("p1", 90), unit("p2", 60)],
            Lane((), 1): [unit("n", 5)],
        }
    )
    assert dealer.deal("a") == unit("p1", 90)
    assert dealer.deal("b") == unit("p2", 60)  # a second phone
    assert dealer.deal("c") == unit("m1", 10)
    assert dealer.deal("a") == unit("n", 5)  # the machine is taken
    assert dealer.deal("b") is None
    assert dealer.deal("c") == unit("m2", 10)
    assert not dealer.has_units
    assert dealer.deal("c") is None


def test_more_workers_than_devices_are_not_needed() -> None:
    dealer = Dealer({MACHINE: [unit("m1", 1), unit("m2", 1)]})
    assert dealer.deal("a") == unit("m1", 1)
    assert dealer.deal("b") is None
    assert dealer.has_units


def test_what_a_dead_worker_had_not_begun_comes_first() -> None:
    dealer = Dealer({PHONES: [Unit(("a", "b", "c"), 1), unit("d", 1)]})
    dealer.deal("one")
    dealer.leave("one", ["b", "c"])
    dealer.leave("two", ["x"])  # it never had anything
    taken = dealer.deal("three")
    assert taken is not None
    assert taken.tests == ("b", "c")
    assert dealer.deal("four") == unit("d", 1)


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=60),
    st.dictionaries(
        st.sampled_from(["x", "y", "z"]),
        st.tuples(st.integers(1, 3), st.integers(0, 6)),
        min_size=1,
    ),
)
def test_every_unit_is_dealt_once_and_no_lane_is_overcrowded(
    asking: list[str], lanes: dict[str, tuple[int, int]]
) -> None:
    units = {
        Lane((name,), seats): [unit(f"{name}{n}", float(n)) for n in range(count)]
        for name, (seats, count) in lanes.items()
    }
    dealer = Dealer(units)
    dealt: list[Unit] = []
    last: dict[str, str] = {}
    for worker in [*asking, *"abcdefghi" * 20]:
        found = dealer.deal(worker)
        if found is not None:
            dealt.append(found)
            last[worker] = found.tests[0][0]
        else:
            last.pop(worker, None)
        for name, (seats, _) in lanes.items():
            assert list(last.values()).count(name) <= seats
    assert sorted(dealt, key=str) == sorted((u for its in units.values() for u in its), key=str)
