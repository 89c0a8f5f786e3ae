"""A large store for benchmarks, filled in one go.

    python benchmarks/big_store.py FOLDER --trials 1000000

What is real: schema, cells, verdicts, figures that follow from the bodies (`tierlab store check`
finds nothing), the order of a lab that runs every workload once a night. What is not: bodies hold
one line of evidence, no probe report and nothing that is left at its default, which makes them
1.7 kB instead of 8 to 10 kB; and they are written without waiting for the disk.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import random
import sqlite3
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from results.figures import COLUMNS, CellKey, Figures, cell_text
from results.record import (
    ArtifactRecord,
    Conditions,
    DeviceRecord,
    Evidence,
    Interval,
    Judgement,
    Kind,
    Measurement,
    MemoryUse,
    Prediction,
    Record,
    Source,
    Spread,
    Tiers,
    Verdict,
    WorkloadRecord,
)
from results.rows import RECORD_COLUMNS, record_columns
from results.store import FILE_NAME, Store
from results.tiers import Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PER_CELL: Final = 200

_FIRST_NIGHT: Final = datetime(2026, 3, 1, 22, tzinfo=UTC)
# A browser version lasts so many nights.
_NIGHTS_A_VERSION: Final = 40

_MODELS: Final = (
    ("gemma-3-270m", 0.27e9),
    ("qwen2.5-0.5b", 0.49e9),
    ("gemma-3-1b-it", 1.0e9),
    ("llama-3.2-1b", 1.24e9),
    ("smollm2-1.7b", 1.71e9),
    ("gemma-2b", 2.5e9),
    ("gemma-2-2b-it", 2.6e9),
    ("phi-3.5-mini", 3.8e9),
    ("gemma-3-4b-it", 3.9e9),
    ("qwen2.5-7b", 7.6e9),
)
_RUNTIMES: Final = (
    ("wllama/wasm", "3.8.1"),
    ("onnxruntime-web/wasm", "1.24.0"),
    ("litert-lm/wasm", "0.18.1"),
    ("mediapipe/webgpu", "0.10.28"),
    ("litert-lm/webgpu", "0.18.1"),
)
_QUANTISATIONS: Final = (("int4", 0.56), ("int8", 1.06))
_GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class _Machine:
    """One device of the made-up lab."""

    number: int
    kind: str
    limited: bool
    memory: int
    speed: float

    @property
    def profile(self) -> str:
        name = "desktop" if self.kind == "desktop" else "phone"
        return f"{name}-{self.number:03}" + ("-2g" if self.limited else "")


def _machines() -> Iterator[_Machine]:
    """Phones and desktops, every fifth under limits; without an end."""
    for number in itertools.count():
        yield _Machine(
            number=number,
            kind="desktop" if number % 3 == 0 else "phone",
            limited=number % 5 == 4,
            memory=(2, 4, 6, 8, 12, 16)[number % 6] * _GIB,
            speed=0.5 + number % 7 / 2,
        )


def _cells() -> Iterator[Record]:
    """A record of each cell, device by device; without an end."""
    workloads = list(itertools.product(_MODELS, _QUANTISATIONS, _RUNTIMES))
    for machine in _machines():
        for (model, parameters), (quantisation, bytes_each), (runtime, version) in workloads:
            size = int(parameters * bytes_each)
            yield _first(machine, model, quantisation, (runtime, version), size)


def _interval(value: float) -> Interval:
    return Interval(low=value / 1.6, expected=value, high=value * 1.5)


def _first(
    machine: _Machine, model: str, quantisation: str, engine: tuple[str, str], size: int
) -> Record:
    """What the first trial of a cell found: it fits, or it does not."""
    runtime, version = engine
    webgpu = "webgpu" in runtime
    peak = size * 1.4
    fits = peak < machine.memory * 0.7
    decode = machine.speed * 8e9 / size * (2 if webgpu else 1)
    tier = Tier.HIGH if decode > 20 else Tier.MEDIUM if decode > 8 else Tier.LOW
    verdict = Verdict.OK if fits else Verdict.OOM
    measured = Measurement(
        download_seconds=size / 300e6,
        create_seconds=size / 150e6,
        first_token_seconds=40 / decode if fits else None,
        prefill_tokens_per_s=decode * 8 if fits else None,
        decode_ms=Spread(n=7, median=1000 / decode, p10=950 / decode, p90=1100 / decode)
        if fits
        else None,
        memory=MemoryUse(processes={"renderer": int(min(peak, machine.memory * 0.7))}),
        wall_seconds=size / 100e6 + 50 / decode,
        bytes_loaded=size,
    )
    return Record(
        trial_id="",
        run_id="",
        started_at=_FIRST_NIGHT,
        device=DeviceRecord(
            profile=machine.profile,
            name=f"Device {machine.number}",
            kind=machine.kind,
            host=f"lab-{machine.number % 8}",
            emulated=machine.limited,
            memory_limit_bytes=2 * _GIB if machine.limited else None,
        ),
        workload=WorkloadRecord(
            model=model,
            quantisation=quantisation,
            runtime=runtime,
            prompt_tokens=16,
            output_tokens=8,
        ),
        artifact=ArtifactRecord(
            key=f"{model}-{quantisation}", kind="synthetic", format="onnx", total_bytes=size
        ),
        conditions=Conditions(
            harness_version="0.1.0",
            browser="chromium",
            browser_version="",
            runtime_version=version,
            adapter="a GPU" if webgpu else None,
            software_adapter=machine.number % 6 == 0 if webgpu else None,
            threads=4,
            operating_system="Linux",
            cpu=f"Processor {machine.number}",
            cores=4,
            memory_bytes=machine.memory,
            load_average=0.2,
            host_at_rest=True,
        ),
        probe=None,
        prediction=Prediction(
            verdict="ok" if fits else "oom",
            reason="expected to fit" if fits else "larger than the memory",
            tier=tier if fits else None,
            load_seconds=_interval(size / 100e6),
            first_token_seconds=_interval(40 / decode),
            prefill_tokens_per_s=_interval(decode * 8),
            decode_tokens_per_s=_interval(decode),
            peak_memory_bytes=_interval(peak),
        ),
        measurement=measured,
        tiers=Tiers(prefill=tier, decode=tier, pair=tier)
        if fits
        else Tiers(prefill=None, decode=None, pair=None),
        verdict=verdict,
        cause="tokens" if fits else "kernel-oom",
        explanation="8 tokens came out" if fits else "the kernel killed the renderer",
        evidence=(Evidence(at_seconds=9.5, source=Source.PAGE, kind=Kind.DONE),),
        judgement=Judgement.RIGHT,
        judgement_reason="as predicted",
    )


def _again(first: Record, night: int, minute: float, chance: random.Random) -> Record:
    """The trial of a cell in a later night: a little faster or slower, now and then a fault."""
    measured = first.measurement
    if measured is None:
        raise ValueError("the first trial measured nothing")
    factor = chance.lognormvariate(0, 0.03)
    decode = measured.decode_ms
    update = {
        "trial_id": f"{chance.getrandbits(128):032x}",
        "run_id": f"night-{night:03}",
        "started_at": _FIRST_NIGHT + timedelta(days=night, minutes=minute),
        "conditions": first.conditions.model_copy(
            update={"browser_version": f"{150 + night // _NIGHTS_A_VERSION}.0.{7700 + night}.1"}
        ),
        "measurement": measured.model_copy(
            update={
                "create_seconds": (measured.create_seconds or 0) * factor,
                "first_token_seconds": (t := measured.first_token_seconds) and t * factor,
                "prefill_tokens_per_s": (p := measured.prefill_tokens_per_s) and p / factor,
                "decode_ms": decode
                and decode.model_copy(update={"median": decode.median * factor}),
            }
        ),
    }
    if chance.random() < 0.01:
        update |= {
            "verdict": Verdict.INFRA,
            "cause": "lab",
            "explanation": "the device did not answer",
            "judgement": Judgement.UNKNOWN,
            "measurement": None,
            "tiers": Tiers(prefill=None, decode=None, pair=None),
        }
    return first.model_copy(update=update)


def _insert(connection: sqlite3.Connection, records: list[Record]) -> None:
    """Records and figures, one of each cell in their order."""
    marks = ", ".join("?" * len(COLUMNS))
    columns = ("trial_id", *RECORD_COLUMNS, "body")
    connection.executemany(
        f"INSERT INTO records ({', '.join(columns)})"  # noqa: S608 - our own
        f" VALUES ({', '.join('?' * len(columns))})",
        (
            (r.trial_id, *record_columns(r), r.model_dump_json(exclude_defaults=True))
            for r in records
        ),
    )
    connection.executemany(
        f"INSERT INTO figures VALUES (?, {marks})",  # noqa: S608 - our own
        ((cell_id, *Figures.of(r)) for cell_id, r in enumerate(records, start=1)),
    )


def fill(
    folder: Path,
    trials: int,
    *,
    per_cell: int = PER_CELL,
    seed: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> Path:
    """Make a store of so many trials and return its file.

    Args:
        folder: the results folder; must not hold a store yet.
        trials: how many; `per_cell` of each cell, so the number of cells follows.
        per_cell: nights of the lab, each of which ran every cell once.
        seed: the same seed gives the same store.
        progress: told how many are there, after each night.
    """
    path = folder / FILE_NAME
    if path.exists():
        raise FileExistsError(path)
    Store.open(folder).close()
    chance = random.Random(seed)  # noqa: S311 - no secret
    cells = list(itertools.islice(_cells(), max(1, trials // per_cell)))
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -3000000"):
        connection.execute(f"PRAGMA {setting}")
    # The ids fall all over the indexes: made at the end they take a fraction of the time, and in
    # one transaction each page is written once.
    connection.execute("BEGIN")
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    done = 0
    keys = (cell_text(CellKey.of(first)) for first in cells)
    connection.executemany("INSERT INTO cells VALUES (?, ?)", enumerate(keys, start=1))
    for night in range(per_cell):
        began = (_FIRST_NIGHT + timedelta(days=night)).isoformat()
        records = [_again(first, night, n / 10, chance) for n, first in enumerate(cells)]
        connection.execute(
            "INSERT INTO runs (run_id, started_at, ended_at, command) VALUES (?, ?, ?, ?)",
            (f"night-{night:03}", began, began, "pytest suites"),
        )
        _insert(connection, records)
        done += len(cells)
        progress(done)
    connection.execute("INSERT INTO outbox SELECT rowid, trial_id FROM records ORDER BY trial_id")
    for _, index in indexes:
        connection.execute(index)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    return path


def main() -> None:
    """Fill a store, and say how large it is and how long it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--per-cell", type=int, default=PER_CELL)
    options = parser.parse_args()
    gc.disable()  # a million records make no cycles, and looking for them takes a tenth of the time
    began = time.perf_counter()
    path = fill(
        options.folder,
        options.trials,
        per_cell=options.per_cell,
        progress=lambda done: print(f"\r{done:,} trials", end="", flush=True, file=sys.stderr),
    )
    seconds = time.perf_counter() - began
    print(f"\n{path}: {path.stat().st_size / 1e6:,.0f} MB in {seconds:.1f} s")


if __name__ == "__main__":
    main()
