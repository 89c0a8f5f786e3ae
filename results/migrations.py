"""The schema of the store, as the steps that lead to it, and how a file is brought to it."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

from results.errors import StoreError
from results.rows import insert_figures, parse_record

if TYPE_CHECKING:
    import sqlite3

# Step n brings a store from version n to n + 1. A released step is never edited.
MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE runs (
        run_id TEXT PRIMARY KEY,
        started_at TEXT NOT NULL,
        ended_at TEXT,
        command TEXT NOT NULL
    ) STRICT;
    CREATE TABLE records (
        trial_id TEXT PRIMARY KEY,
        run_id TEXT NOT NULL REFERENCES runs(run_id),
        started_at TEXT NOT NULL,
        profile TEXT NOT NULL,
        model TEXT NOT NULL,
        quantisation TEXT NOT NULL,
        runtime TEXT NOT NULL,
        verdict TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX records_by_run ON records(run_id, started_at);
    CREATE INDEX records_by_cell ON records(profile, model, quantisation, runtime, started_at);
    """,
    # What follows from several trials: claims held against them, and response times.
    """
    CREATE TABLE findings (
        run_id TEXT NOT NULL REFERENCES runs(run_id),
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        profile TEXT NOT NULL,
        runtime TEXT NOT NULL,
        model TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX findings_by_run ON findings(run_id, kind, at);
    """,
    """
    CREATE TABLE capabilities (
        capability_id TEXT PRIMARY KEY,
        run_id TEXT NOT NULL REFERENCES runs(run_id),
        started_at TEXT NOT NULL,
        profile TEXT NOT NULL,
        library TEXT NOT NULL,
        backend TEXT NOT NULL,
        verdict TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX capabilities_by_run ON capabilities(run_id, started_at);
    """,
    # Figures of the records, flat and kept together by cell of the matrix; and the outbox: which
    # records still have to be sent, and single lines that the database refused.
    """
    CREATE TABLE cells (
        cell_id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE figures (
        cell_id INTEGER NOT NULL REFERENCES cells(cell_id),
        trial_id TEXT NOT NULL REFERENCES records(trial_id) ON DELETE CASCADE,
        run_id TEXT NOT NULL,
        started_at TEXT NOT NULL,
        host TEXT NOT NULL,
        verdict TEXT NOT NULL,
        cause TEXT NOT NULL,
        tier TEXT,
        predicted_verdict TEXT NOT NULL,
        predicted_tier TEXT,
        judgement TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        artifact_key TEXT,
        artifact_kind TEXT,
        artifact_bytes INTEGER,
        harness_version TEXT NOT NULL,
        browser TEXT NOT NULL,
        browser_version TEXT NOT NULL,
        runtime_version TEXT NOT NULL,
        operating_system TEXT NOT NULL,
        adapter TEXT,
        threads INTEGER,
        load_average REAL,
        host_at_rest INTEGER,
        temperature_celsius REAL,
        throttled_seconds REAL,
        load_seconds REAL,
        first_token_seconds REAL,
        prefill_tokens_per_s REAL,
        decode_tokens_per_s REAL,
        peak_bytes REAL,
        predicted_load_seconds REAL,
        predicted_load_seconds_low REAL,
        predicted_load_seconds_high REAL,
        predicted_first_token_seconds REAL,
        predicted_first_token_seconds_low REAL,
        predicted_first_token_seconds_high REAL,
        predicted_prefill_tokens_per_s REAL,
        predicted_prefill_tokens_per_s_low REAL,
        predicted_prefill_tokens_per_s_high REAL,
        predicted_decode_tokens_per_s REAL,
        predicted_decode_tokens_per_s_low REAL,
        predicted_decode_tokens_per_s_high REAL,
        predicted_peak_bytes REAL,
        predicted_peak_bytes_low REAL,
        predicted_peak_bytes_high REAL,
        PRIMARY KEY (cell_id, started_at, trial_id)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX figures_by_trial ON figures(trial_id);
    CREATE INDEX figures_by_run ON figures(run_id);
    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY,
        trial_id TEXT NOT NULL UNIQUE REFERENCES records(trial_id) ON DELETE CASCADE
    ) STRICT;
    CREATE TABLE parked (
        seq INTEGER PRIMARY KEY,
        trial_id TEXT NOT NULL,
        line TEXT NOT NULL UNIQUE,
        reason TEXT NOT NULL,
        parked_at TEXT NOT NULL
    ) STRICT;
    INSERT INTO outbox (trial_id) SELECT trial_id FROM records ORDER BY started_at, trial_id;
    """,
    # The lab's own faults are few and counted often.
    """
    CREATE INDEX figures_of_faults ON figures(verdict) WHERE verdict IN ('infra', 'cascade');
    """,
    # The rate of decoding is that of the mean step, no longer of the median one.
    "",
    # The fleet: what was asked for, what happened when, and which record fulfils which request. A
    # second one that states something of the same request is kept aside.
    """
    ALTER TABLE records ADD COLUMN request_id TEXT;
    CREATE UNIQUE INDEX records_of_request ON records(request_id)
        WHERE request_id IS NOT NULL AND verdict NOT IN ('infra', 'cascade');
    CREATE INDEX records_by_request ON records(request_id, started_at)
        WHERE request_id IS NOT NULL;
    CREATE TABLE superseded (
        trial_id TEXT PRIMARY KEY,
        run_id TEXT NOT NULL REFERENCES runs(run_id),
        request_id TEXT NOT NULL,
        started_at TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX superseded_by_run ON superseded(run_id, started_at);
    CREATE TABLE requests (
        request_id TEXT PRIMARY KEY,
        run_id TEXT NOT NULL,
        requested_at TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX requests_by_run ON requests(run_id, requested_at);
    CREATE TABLE events (
        event_id TEXT PRIMARY KEY,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        run_id TEXT,
        resource TEXT,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_by_time ON events(at);
    CREATE INDEX events_by_run ON events(run_id, at) WHERE run_id IS NOT NULL;
    CREATE INDEX events_by_resource ON events(resource, at) WHERE resource IS NOT NULL;
    CREATE TABLE tests (
        attempt_id TEXT NOT NULL,
        node_id TEXT NOT NULL,
        run_id TEXT NOT NULL,
        host TEXT NOT NULL,
        profile TEXT NOT NULL,
        suite TEXT NOT NULL,
        requested_at TEXT NOT NULL,
        ended_at TEXT,
        outcome TEXT,
        seconds REAL,
        reason TEXT NOT NULL,
        lab_fault INTEGER NOT NULL,
        PRIMARY KEY (attempt_id, node_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tests_by_run ON tests(run_id, requested_at);
    CREATE INDEX tests_by_name ON tests(profile, node_id, requested_at);
    CREATE TABLE handed_over (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        state TEXT NOT NULL,
        bundle_id TEXT NOT NULL,
        confirmed INTEGER NOT NULL,
        PRIMARY KEY (kind, name, state, bundle_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX handed_over_by_bundle ON handed_over(bundle_id);
    CREATE TABLE journals (
        name TEXT PRIMARY KEY,
        inode INTEGER NOT NULL,
        read_bytes INTEGER NOT NULL
    ) STRICT;
    """,
)

# The latest step that changed what a row of figures is; all of them are made anew after it.
_FIGURES_VERSION: Final = 6

# Another process may be making the figures of a million records: some minutes.
_PATIENCE_MILLISECONDS: Final = 3_600_000

# From so many records on, making their figures takes long enough to be told.
_MANY: Final = 10_000

_LOG = logging.getLogger(__name__)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema to this version, one step a transaction.

    Sets a `busy_timeout` of its own where there is something to do.

    Raises:
        StoreError: the file was written by newer code.
        sqlite3.Error: it is no store, or cannot be written.
    """
    while (version := schema_version(connection)) < len(MIGRATIONS):
        connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MILLISECONDS}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have taken the step while this one waited for the lock.
            if schema_version(connection) == version:
                for statement in MIGRATIONS[version].split(";"):
                    connection.execute(statement)
                if version + 1 == _FIGURES_VERSION:
                    _derive_figures(connection)
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            roll_back(connection)
            raise
    if version > len(MIGRATIONS):
        raise StoreError(
            f"was written by a newer tierlab (schema {version}, known here: {len(MIGRATIONS)})"
        )


def schema_version(connection: sqlite3.Connection) -> int:
    """How many steps a file has behind it; 0 for one that is new."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def roll_back(connection: sqlite3.Connection) -> None:
    """Undo the transaction, where there still is one."""
    # Where the disk is full SQLite has rolled back already; a second time would be an error, and
    # hide the first one.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _derive_figures(connection: sqlite3.Connection) -> None:
    """Make the figures of all records anew; one that cannot be read gets none."""
    ((count,),) = connection.execute("SELECT count(*) FROM records")
    if count >= _MANY:
        _LOG.warning("a store of before: making the figures of %d records, once", count)
    connection.execute("DELETE FROM figures")
    connection.execute("DELETE FROM cells")
    for trial_id, body in connection.execute("SELECT trial_id, body FROM records"):
        with contextlib.suppress(StoreError):
            record = parse_record(trial_id, body)
            if record.trial_id == trial_id:  # or its figures would be another's
                insert_figures(connection, record)
