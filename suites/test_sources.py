"""Where the bytes come from: what the same model costs in memory from each source, and offline.

    pytest suites/test_sources.py -m full --device=desktop

One load and one with the network cut for each source, of the smallest model (0.3 GB). The engine
takes its weights as blobs, so that it is the source that decides which process holds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from harness.models import Workload, find_model
from harness.runtimes import find_runtime
from harness.sources import SOURCES
from results.record import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.laboratory import Laboratory
    from harness.profiles import Profile
    from results.record import Record

pytestmark = pytest.mark.full

MODEL: Final = "gemma-3-270m"
ENGINE: Final = "wllama/wasm"
MIB: Final = 1 << 20

each_source = pytest.mark.parametrize("source", SOURCES)


@pytest.fixture(scope="session")
def records(profile: Profile) -> Iterator[dict[str, Record]]:
    """The trials of this device by source; what they cost is printed at the end."""
    found: dict[str, Record] = {}
    yield found
    print(f"\n{profile.id}, {MODEL} on {ENGINE}\n{costs(found)}")  # noqa: T201 - shown by -s or -rP


@pytest.fixture
def record(
    laboratory: Laboratory, profile: Profile, source: str, records: dict[str, Record]
) -> Record:
    """The trial of one source, with the load without a network after it."""
    quantisation = find_runtime(ENGINE).exact_quantisation(find_model(MODEL), "int8")
    workload = Workload(MODEL, quantisation, ENGINE, 8, 8, source=source)
    records[source] = laboratory.trial(profile, workload, offline=True)
    return records[source]


def costs(records: dict[str, Record]) -> str:
    """A table: peaks of the processes in MiB, what the page has stored, and the load offline."""
    lines = ["source        browser  renderer   stored     quota  offline"]
    for source, record in records.items():
        measured = record.measurement
        if measured is None:
            lines.append(f"{source:12}  {record.verdict}: {record.explanation}")
            continue
        peaks, storage = measured.memory.processes, measured.storage
        stored = storage.usage_after_bytes if storage else None
        quota = storage.quota_bytes if storage else None
        offline = measured.offline.reason if measured.offline else "not tried"
        lines.append(
            f"{source:12} {peaks.get('browser', 0) // MIB:8} {peaks.get('renderer', 0) // MIB:9}"
            f" {_mib(stored):>8}  {_mib(quota):>8}  {offline}"
        )
    return "\n".join(lines)


def _mib(size: int | None) -> str:
    return "unknown" if size is None else str(size // MIB)


@each_source
def test_the_model_loads_from_it(record: Record, records: dict[str, Record]) -> None:
    """The same tokens, wherever the bytes come from."""
    assert record.verdict is Verdict.OK, f"{record.explanation}\n{costs(records)}"
    assert record.measurement is not None
    first = next(iter(records.values())).measurement
    assert first is not None
    assert record.measurement.tokens == first.tokens, costs(records)


@each_source
def test_what_it_stores(record: Record, source: str, records: dict[str, Record]) -> None:
    """A source that keeps files has them in the storage of the page, the others have not."""
    assert record.measurement is not None, record.explanation
    storage = record.measurement.storage
    assert storage is not None
    assert storage.usage_after_bytes is not None
    assert storage.usage_before_bytes is not None
    assert record.artifact is not None
    grew = storage.usage_after_bytes - storage.usage_before_bytes
    keeps = not (SOURCES[source].forgets or SOURCES[source].picked)
    assert (grew >= record.artifact.total_bytes) is keeps, costs(records)


@each_source
def test_it_works_without_a_network(
    record: Record, source: str, records: dict[str, Record]
) -> None:
    """Page, engine and model from the browser's own storage; from the network it cannot work."""
    assert record.measurement is not None, record.explanation
    offline = record.measurement.offline
    assert offline is not None, f"the first load did not end well: {record.explanation}"
    assert offline.worked is not bool(SOURCES[source].forgets), (
        f"{offline.reason}\n{costs(records)}"
    )
