"""From stored records to what calibration and evaluation learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from results.observation import Observation
    from results.record import Record


def observe(record: Record) -> Observation | None:
    """One trial with the terms of today's engine recipes; `None` where there is nothing to learn.

    `terms` has every candidate term of the recipe that can be computed from the stored report. Its
    `prefill` of the first token is what the recipe's default factors predict: whoever fits prefill
    puts the prediction of that fit in its place.
    """
    raise NotImplementedError
