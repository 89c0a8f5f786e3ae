"""The whole scenario with virtual phones: ten minutes, root, and only when it is asked for."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.fleet_scenario.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.full,
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None,
        reason="a cable is cut in a network namespace, which needs Linux, root and iproute2",
    ),
]


def test_every_trial_is_recorded_exactly_once(tmp_path: Path) -> None:
    assert main(["--folder", str(tmp_path / "lab")]) == 0
