"""What came of a storm: one JSON document, and a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.kill_storm.ledger import damaged, untrue
from benchmarks.markdown import markdown_table
from results.fleet.requests import progress
from results.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.kill_storm.ledger import Ledger
    from benchmarks.kill_storm.plan import Target
    from benchmarks.kill_storm.storm import Deaths, Scene

HEADS = ("part", "minutes", "kills", "runs", "requests", "fulfilled once", "trials committed",
         "of them superseded", "problems")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the storm.

    Attributes:
        name: of the part.
        seconds: how long it took.
        killed: how many of each kind.
        missed: of which kind nobody came.
        victims: what was killed, and when, in words.
        runs: how many.
        requests: of all runs.
        fulfilled: how many of them have a record that counts.
        committed: how many trials were seen in any store, after any kill.
        superseded: how many were set aside on the controller.
        problems: whatever does not hold.
        told: anything else that was counted.
    """

    name: str
    seconds: float
    killed: dict[str, int]
    missed: dict[str, int]
    victims: list[str]
    runs: int
    requests: int
    fulfilled: int
    committed: int
    superseded: int
    problems: list[str]
    told: dict[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def part(
    name: str, scene: Scene, ledger: Ledger, deaths: Deaths, *, seconds: float, told: dict[str, Any]
) -> Part:
    """Look at the stores, and sum one part up."""
    ledger.read(scene.results)
    problems = [
        *scene.problems,
        *ledger.problems,
        *ledger.lost(scene.results[0]),
        *damaged(scene.results),
        *untrue(scene.results[0], "wllama/wasm"),
    ]
    with Store.open(scene.results[0]) as store:
        done = [progress(store, run) for run in scene.runs]
    return Part(
        name=name,
        seconds=seconds,
        killed=_counts(kill.target for kill, _, _ in deaths.killed),
        missed=_counts(kill.target for kill in deaths.missed),
        victims=[f"{at:.1f} s: {kill.target}: {words}" for kill, at, words in deaths.killed],
        runs=len(done),
        requests=sum(one.requested for one in done),
        fulfilled=sum(one.recorded for one in done),
        committed=len(ledger.committed),
        superseded=sum(one.superseded for one in done),
        problems=problems,
        told=told,
    )


def _counts(targets: Iterable[Target]) -> dict[str, int]:
    return dict(Counter(map(str, targets)))


def tables(parts: Iterable[Part]) -> str:
    """Two tables: what was killed, and what came of it."""
    listed = list(parts)
    names = sorted({name for one in listed for name in one.killed | one.missed})
    kills = [
        [one.name, *(str(one.killed.get(name, 0)) for name in names), str(sum(one.killed.values()))]
        for one in listed
    ]
    rows = [
        [
            one.name, f"{one.seconds / 60:.1f}", str(sum(one.killed.values())), str(one.runs),
            str(one.requests), str(one.fulfilled), str(one.committed), str(one.superseded),
            str(len(one.problems)),
        ]
        for one in listed
    ]  # fmt: skip
    return "\n\n".join(
        [markdown_table(("killed", *names, "all"), kills), markdown_table(HEADS, rows)]
    )
