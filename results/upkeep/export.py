"""The trials of a store as one Parquet file, for notebooks and data frames.

Columns, their types and meanings are those of `results.upkeep.columns`; the meanings travel in the
file as the metadata `description` of each column. Memory is bounded, whatever the store's size.

This module needs pyarrow, which is an extra (`parquet`): import it only where it is used.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from results.errors import StoreError
from results.figures import Figures
from results.files import replaced
from results.upkeep.columns import COLUMNS_OF_EXPORT, Column, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from results.query import Trial
    from results.store import Store

ROWS_A_GROUP: Final = 20_000
# A record is some 10 kB of JSON.
_BODY_BYTES_A_GROUP: Final = 32 << 20

_RECORD: Final = Column("record", Kind.TEXT, nullable=False, meaning="the whole record as JSON")


def export_parquet(
    store: Store,
    trials: Iterable[Trial],
    target: Path,
    *,
    records: bool = False,
    rows_a_group: int = ROWS_A_GROUP,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write trials to a Parquet file, and return how many.

    The file takes its place only when it is whole and on disk.

    Args:
        store: where the trials are from.
        trials: which, as `results.query.figures` gives them.
        target: the file.
        records: add a column `record` with the whole record as JSON.
        rows_a_group: how many rows are kept in memory and written at once.
        progress: told how many are written.

    Raises:
        StoreError: the store cannot be read, or the file not be written.
    """
    schema = arrow_schema(records=records)
    written = 0
    try:
        with replaced(target) as file, ParquetWriter(file, schema, compression="zstd") as writer:
            for group in _groups(store, trials, records=records, most=rows_a_group):
                writer.write_batch(_batch(group, schema), row_group_size=rows_a_group)
                written += len(group)
                progress(written)
    except OSError as error:
        raise StoreError(f"{target}: cannot be written: {error.strerror or error}") from error
    return written


_TYPES: Final = {
    Kind.TEXT: pa.string(),
    Kind.FLAG: pa.bool_(),
    Kind.WHOLE: pa.int64(),
    Kind.REAL: pa.float64(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
}


def arrow_schema(*, records: bool = False) -> pa.Schema:
    """The Arrow schema of an export, with or without whole records."""
    return pa.schema(
        pa.field(
            column.name,
            _TYPES[column.kind],
            nullable=column.nullable,
            metadata={"description": column.meaning},
        )
        for column in (*COLUMNS_OF_EXPORT, *([_RECORD] if records else []))
    )


def _groups(
    store: Store, trials: Iterable[Trial], *, records: bool, most: int
) -> Iterator[list[tuple[Any, ...]]]:
    """Rows in portions that fit into memory."""
    group: list[tuple[Any, ...]] = []
    size = 0
    for trial in trials:
        row = _row(trial)
        if records:
            body = store.body(trial.figures.trial_id)
            if body is None:  # pruned since its figures were read
                continue
            size += len(body)
            row = (*row, body)
        group.append(row)
        if len(group) == most or size > _BODY_BYTES_A_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


_STARTED_AT: Final = Figures._fields.index("started_at")
_AT_REST: Final = Figures._fields.index("host_at_rest")


def _row(trial: Trial) -> tuple[Any, ...]:
    """The values of a trial as the columns have them."""
    values: list[Any] = list(trial.figures)
    values[_STARTED_AT] = datetime.fromisoformat(trial.figures.started_at)
    rest = trial.figures.host_at_rest
    values[_AT_REST] = None if rest is None else bool(rest)
    cell = trial.cell
    return (
        cell.profile,
        cell.hardware,
        cell.limited,
        cell.software_adapter,
        cell.model,
        cell.quantisation,
        cell.variant,
        cell.runtime,
        cell.source,
        *values,
    )


def _batch(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)
