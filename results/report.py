"""What a run found, printed: libraries, loads, engines side by side, claims, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from results.capability_table import capability_table
from results.claims_table import claims_table, response_table
from results.regressions.ab import ab_outcomes, mark_of
from results.regressions.table import print_ab
from results.table import comparison, next_steps, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from results.store import Store


def print_report(
    console: Console, store: Store, run_id: str, left_out: Sequence[tuple[str, str]] = ()
) -> bool:
    """Print everything that is stored of a run; whether there was anything.

    Args:
        console: where to.
        store: where the run is.
        run_id: which run.
        left_out: engines that were asked for and not run, and why.
    """
    capabilities = store.capabilities(run_id=run_id)
    everything = store.records(run_id=run_id)
    # Of A and B it is the comparison that tells something, not each of many loads.
    records = [record for record in everything if mark_of(record) is None]
    outcomes, responses = store.outcomes(run_id=run_id), store.responses(run_id=run_id)
    if capabilities:
        console.print(capability_table(capabilities))
    if records:
        console.print(table(records))
    if len(records) + len(left_out) > 1:
        console.print(comparison(records, left_out))
    for line in next_steps(records):
        console.print(f"-> {line}", markup=False, highlight=False, soft_wrap=True)
    for ab in ab_outcomes(everything):
        print_ab(console, ab)
    if outcomes:
        console.print(claims_table(outcomes))
    if responses:
        console.print(response_table(responses))
    return bool(capabilities or everything or outcomes or responses)
