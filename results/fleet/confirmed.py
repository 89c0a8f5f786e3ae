"""What a controller has confirmed of a host's store (`results.fleet.handover`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from results.store import Store


def hands_over(store: Store) -> bool:
    """Whether a store is one of a host that hands over to a controller."""
    return bool(store.read("SELECT 1 FROM handed_over LIMIT 1"))


def is_confirmed(store: Store, trial_id: str) -> bool:
    """Whether the controller has a trial."""
    query = "SELECT 1 FROM handed_over WHERE kind = 'trial' AND name = ? AND confirmed = 1"
    return bool(store.read(query, (trial_id,)))


# The name of a test is that of its attempt, a space, and that of its node.
_TEST: Final = (
    "SELECT 1 FROM tests WHERE attempt_id = substr(name, 1, instr(name, ' ') - 1)"
    " AND node_id = substr(name, instr(name, ' ') + 1)"
)

# What was handed over, by kind: where it is found, while it is here.
_HERE: Final = {
    "trial": (
        "SELECT 1 FROM records WHERE trial_id = name",
        "SELECT 1 FROM superseded WHERE trial_id = name",
    ),
    "run": ("SELECT 1 FROM runs WHERE run_id = name",),
    "request": ("SELECT 1 FROM requests WHERE request_id = name",),
    "event": ("SELECT 1 FROM events WHERE event_id = name",),
    "test": (_TEST,),
    "capability": ("SELECT 1 FROM capabilities WHERE capability_id = name",),
    "finding": ("SELECT 1 FROM findings WHERE rowid = CAST(name AS INTEGER)",),
    "pages": ("SELECT 1 FROM runs WHERE run_id = substr(name, 1, instr(name, '/') - 1)",),
    "probes": ("SELECT 1 FROM runs WHERE run_id = substr(name, 1, instr(name, '/') - 1)",),
}

GONE: Final = " OR ".join(
    f"(kind = '{kind}' AND {' AND '.join(f'NOT EXISTS ({query})' for query in queries)})"
    for kind, queries in _HERE.items()
)
"""Which rows of `handed_over` are of what is no longer here: pruned, or changed since."""
