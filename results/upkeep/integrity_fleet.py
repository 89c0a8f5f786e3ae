"""Whether what a store holds of a fleet can be read, and is what it is filed as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pydantic import ValidationError

from results.errors import StoreError
from results.fleet.events import Event
from results.fleet.requests import Request
from results.fleet.suite_tests import COLUMNS, SuiteTest
from results.record import Part, Record
from results.rows import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from results.store import Store

P = TypeVar("P", bound=Part)


@dataclass(frozen=True, slots=True)
class _Kind(Generic[P]):
    """What is kept as a body, and filed under columns that follow from it.

    Attributes:
        called: what one is called in a message, around its id.
        table: its table.
        columns: the columns that follow, the id first.
        shape: what a body holds.
        filed: the values of the columns, as a body says.
    """

    called: str
    table: str
    columns: str
    shape: type[P]
    filed: Callable[[P], tuple[str | None, ...]]

    def problems(self, store: Store) -> Iterator[str]:
        """What cannot be read, or is not what its columns say."""
        query = f"SELECT {self.columns}, body FROM {self.table}"  # noqa: S608 - our own
        for *filed, body in store.each(query):
            name = self.called.format(filed[0])
            try:
                found = parse(self.shape, body, name)
            except StoreError as error:
                yield str(error).partition("\n")[0]
                continue
            if self.filed(found) != tuple(filed):
                yield f"{name}: its columns differ from its body"


_SUPERSEDED: Final = _Kind(
    called="trial {}, which was set aside",
    table="superseded",
    columns="trial_id, run_id, request_id",
    shape=Record,
    filed=lambda one: (one.trial_id, one.run_id, one.lineage.request_id if one.lineage else None),
)
_REQUESTS: Final = _Kind(
    called="request {}",
    table="requests",
    columns="request_id, run_id",
    shape=Request,
    filed=lambda one: (one.request_id, one.run_id),
)
_EVENTS: Final = _Kind(
    called="event {}",
    table="events",
    columns="event_id, kind, run_id, resource",
    shape=Event,
    filed=lambda one: (one.event_id, str(one.kind), one.run_id, one.resource),
)
_TWICE: Final = "SELECT trial_id FROM superseded JOIN records USING (trial_id) ORDER BY trial_id"
_TESTS: Final = f"SELECT {', '.join(COLUMNS)} FROM tests"  # noqa: S608 - names of our own


def fleet_problems(store: Store) -> Iterator[str]:
    """What is wrong, a line each. Nothing of it follows from anything else, so none is mended.

    Raises:
        StoreError: the store cannot be read at all.
    """
    yield from _SUPERSEDED.problems(store)
    yield from _REQUESTS.problems(store)
    yield from _EVENTS.problems(store)
    for (trial_id,) in store.each(_TWICE):
        yield f"trial {trial_id} counts, and is set aside as well"
    for row in store.each(_TESTS):
        values = dict(zip(COLUMNS, row, strict=True))
        try:
            SuiteTest.model_validate(values)
        except ValidationError:
            yield f"test {values['node_id']} of attempt {values['attempt_id']} cannot be read"
