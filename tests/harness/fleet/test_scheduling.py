"""Units for the workers of xdist, with workers that are none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from harness.fleet import scheduling
from harness.fleet.scheduling import UnitScheduling
from harness.fleet.units import Dealer, Lane, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

TESTS = ["a1", "a2", "a3", "b1", "c1", "c2"]


class Node:
    """What the scheduling sees of a worker: it runs a test when it knows what comes after it."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.sent: list[int] = []

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        assert not self.shutting_down
        self.sent += indices

    def shutdown(self) -> None:
        self.shutting_down = True


class Lab:
    """A run with so many workers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, workers: int, seats: int = 3) -> None:
        monkeypatch.setattr(scheduling, "parse_tx_spec_config", lambda _: range(workers))
        self.reports: list[pytest.CollectReport] = []
        hook = SimpleNamespace(pytest_collectreport=self._report)
        lane = Lane(("phone",), seats)
        units = [Unit(("a1", "a2", "a3"), 9), Unit(("b1",), 5), Unit(("c1", "c2"), 1)]
        config: Any = SimpleNamespace(hook=hook)
        self.plan: Any = UnitScheduling(config, lambda _: Dealer({lane: units}))
        self.nodes = [self.node(f"gw{number}") for number in range(workers)]

    def _report(self, report: pytest.CollectReport) -> None:
        self.reports.append(report)

    def node(self, name: str, tests: Sequence[str] = TESTS) -> Node:
        node = Node(name)
        self.plan.add_node(node)
        self.plan.add_node_collection(node, tests)
        return node

    def run(self, node: Node) -> list[str]:
        """Let a worker run what it can; the tests that it ran."""
        ran = []
        while len(node.sent) > 1 or (node.sent and node.shutting_down):
            index = node.sent.pop(0)
            ran.append(TESTS[index])
            self.plan.mark_test_complete(node, index)
        return ran


def test_workers_begin_with_one_unit_each(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(monkeypatch, 2)
    assert lab.plan.collection_is_completed
    lab.plan.schedule()
    one, two = lab.nodes
    assert [TESTS[index] for index in one.sent] == ["a1", "a2", "a3"]
    assert [TESTS[index] for index in two.sent] == ["b1", "c1", "c2"]
    assert not lab.plan.tests_finished
    assert lab.run(two) == ["b1", "c1", "c2"]
    assert lab.run(one) == ["a1", "a2", "a3"]
    assert lab.plan.tests_finished
    assert not lab.plan.has_pending


def test_a_worker_too_many_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(monkeypatch, 3, seats=1)
    lab.plan.schedule()
    assert [node.shutting_down for node in lab.nodes] == [False, True, True]
    assert lab.run(lab.nodes[0]) == TESTS


def test_what_a_worker_died_of_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(monkeypatch, 1)
    lab.plan.schedule()
    assert lab.plan.remove_node(lab.nodes[0]) == "a1"
    assert lab.plan.has_pending
    new = lab.node("gw1")
    lab.plan.schedule()
    assert lab.run(new) == ["a2", "a3", "b1", "c1", "c2"]
    assert lab.plan.remove_node(new) is None


def test_another_goes_on_where_a_worker_died(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(monkeypatch, 2)
    lab.plan.schedule()
    one, two = lab.nodes
    assert lab.run(two)[:1] == ["b1"]
    assert lab.plan.remove_node(one) == "a1"
    new = lab.node("gw2")
    lab.plan.schedule()
    assert lab.run(new) == ["a2", "a3"]
    assert lab.plan.tests_finished


def test_workers_with_different_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(monkeypatch, 1)
    lab.plan._expected = 2
    assert not lab.plan.collection_is_completed
    lab.node("gw1", [*TESTS, "d1"])
    lab.plan.schedule()
    assert [report.nodeid for report in lab.reports] == ["gw1"]
    assert "d1" in str(lab.reports[0].longrepr)
    assert lab.plan.tests_finished


def test_a_run_without_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(monkeypatch, 0)
    lab.plan._make_dealer = lambda _: Dealer({})
    lab.plan._expected = 1
    node = lab.node("gw0", [])
    lab.plan.schedule()
    assert node.shutting_down
    assert lab.plan.tests_finished
