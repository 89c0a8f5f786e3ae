"""What the suites are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.laboratory import Laboratory
from harness.plugin.speaker import speaker
from harness.plugin.stash import PLAN

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def laboratory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    """The laboratory of this process."""
    plan = request.config.stash.get(PLAN, None)
    if plan is None:
        raise pytest.UsageError("the suites run as `pytest suites --device=...`")
    with Laboratory(plan.settings, speaker(request.config)) as lab:
        yield lab
