"""Units for the workers of pytest-xdist: its `Scheduling` protocol (xdist/scheduler/protocol.py).

xdist's own groups (`--dist=loadgroup`) are not used: 3.8 loses them under pytest 9, and they know
nothing of devices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest
from xdist.report import report_collection_diff
from xdist.workermanage import parse_tx_spec_config

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xdist.workermanage import WorkerController

    from harness.fleet.units import Dealer

# A worker begins a test only when it knows the one after it, or that there is none.
_LEAST_IN_HAND = 2


class UnitScheduling:
    """Deals out units instead of tests.

    Args:
        config: of the process that controls the run.
        make_dealer: makes the dealer of the tests, once they are known.
    """

    def __init__(
        self, config: pytest.Config, make_dealer: Callable[[Sequence[str]], Dealer]
    ) -> None:
        self._config = config
        self._expected = len(parse_tx_spec_config(config))
        self._make_dealer = make_dealer
        self._dealer: Dealer | None = None
        self._collections: dict[WorkerController, list[str]] = {}
        # What each worker was sent and has not finished, in the order in which it runs it.
        self._hands: dict[WorkerController, list[str]] = {}

    @property
    def nodes(self) -> list[WorkerController]:
        """The workers that there are."""
        return list(self._hands)

    @property
    def collection_is_completed(self) -> bool:
        """Whether all workers that the run began with have told their tests."""
        return len(self._collections) >= self._expected

    @property
    def has_pending(self) -> bool:
        """Whether something is still to be run, or runs."""
        return self._has_units or any(self._hands.values())

    @property
    def tests_finished(self) -> bool:
        """Whether all workers may end after what they have in hand."""
        return (
            self.collection_is_completed
            and not self._has_units
            and all(len(hand) < _LEAST_IN_HAND for hand in self._hands.values())
        )

    @property
    def _has_units(self) -> bool:
        return self._dealer is not None and self._dealer.has_units

    def add_node(self, node: WorkerController) -> None:
        """A worker is there; it goes on to collect."""
        self._hands[node] = []

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """A worker has told its tests. One in place of another that died comes later."""
        self._collections[node] = list(collection)

    def schedule(self) -> None:
        """All workers have told their tests, or a new one has."""
        if self._dealer is None:
            if self._differ():
                return
            (tests, *_) = self._collections.values()
            self._dealer = self._make_dealer(tests)
            # One each before anybody has a second: the longest run side by side.
            for node in self.nodes:
                self._deal(node)
        for node in self.nodes:
            self._fill(node)

    def mark_test_complete(
        self,
        node: WorkerController,
        item_index: int,
        duration: float = 0,  # noqa: ARG002 - of the protocol
    ) -> None:
        """A worker has run a test."""
        self._hands[node].remove(self._collections[node][item_index])
        self._fill(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """A worker is gone; the test that it died of, if any. That one is not begun again."""
        hand = self._hands.pop(node)
        if self._dealer is not None:
            self._dealer.leave(node, hand[1:])
            for other in self.nodes:
                self._fill(other)
        return hand[0] if hand else None

    def mark_test_pending(self, item: str) -> NoReturn:
        """Not needed: nothing is run twice."""
        raise NotImplementedError

    def remove_pending_tests_from_node(
        self, node: WorkerController, indices: Sequence[int]
    ) -> NoReturn:
        """Not needed: nothing is taken back from a worker."""
        raise NotImplementedError

    def _fill(self, node: WorkerController) -> None:
        """Give a worker units until it can run its next test, or let it end."""
        while not node.shutting_down and len(self._hands[node]) < _LEAST_IN_HAND:
            if not self._deal(node):
                node.shutdown()

    def _deal(self, node: WorkerController) -> bool:
        """Give a worker a unit; whether there was one for it."""
        if self._dealer is None or node not in self._collections:
            return False
        unit = self._dealer.deal(node)
        if unit is None:
            return False
        self._hands[node].extend(unit.tests)
        places = {test: place for place, test in enumerate(self._collections[node])}
        node.send_runtest_some([places[test] for test in unit.tests])
        return True

    def _differ(self) -> bool:
        """Whether workers collected different tests; each that does is told as an error."""
        (first, tests), *others = self._collections.items()
        found = False
        for node, its in others:
            difference = report_collection_diff(tests, its, first.gateway.id, node.gateway.id)
            if difference is not None:
                found = True
                self._config.hook.pytest_collectreport(
                    report=pytest.CollectReport(
                        nodeid=node.gateway.id, outcome="failed", longrepr=difference, result=[]
                    )
                )
        return found
