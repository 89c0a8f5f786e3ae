"""The deadline of a run, in every process of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.plugin.stash import DEADLINE

if TYPE_CHECKING:
    from harness.fleet.deadline import Deadline


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Begin no test after the deadline: it has no result, which no report of pytest can say."""
    deadline: Deadline | None = item.config.stash.get(DEADLINE, None)
    if deadline is None or not deadline.passed():
        return None
    item.session.shouldstop = deadline.reason
    return True
