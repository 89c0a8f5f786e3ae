"""What the suites are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.laboratory import Laboratory
from harness.plugin.speaker import speaker
from harness.plugin.stash import PLAN
from harness.plugin.trials import ASKED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from results.record import Record


class _WatchedLaboratory(Laboratory):
    """Notes which trials the test that runs now has asked for.

    Args:
        config: where they are noted.
    """

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config.stash[PLAN].settings, speaker(config))
        self._asked = config.stash

    def trial(self, *arguments: Any, **options: Any) -> Record:  # noqa: ANN401 - as they come
        record = super().trial(*arguments, **options)
        self._asked.setdefault(ASKED, []).append(record)
        return record

    def ask_app(self, *arguments: Any, **options: Any) -> Record:  # noqa: ANN401 - as they come
        record = super().ask_app(*arguments, **options)
        self._asked.setdefault(ASKED, []).append(record)
        return record


@pytest.fixture(scope="session")
def laboratory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    """The laboratory of this process."""
    if PLAN not in request.config.stash:
        raise pytest.UsageError("the suites run as `pytest suites --device=...`")
    with _WatchedLaboratory(request.config) as lab:
        yield lab
