from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what boots a container (minutes, 3 GB) unless `-m` speaks of it."""
    if re.search(r"\bcontainer\b", config.option.markexpr):
        return
    left = [
        item
        for item in items
        if item.path.is_relative_to(HERE) and item.get_closest_marker("container")
    ]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
