"""The benchmark of a Buildbot master loads a real one, and leaves nothing behind."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import psutil
import pytest

from benchmarks.controller_load.__main__ import HEADS, Cost, Load, measure, row
from harness.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_row() -> None:
    load = Load(workers=20, builders=10, requests=400, steps=1)
    cost = Cost(load, 9.0, 104_000_000, 0.0057, 200.0, 400.0, 100.0, 800_000)
    cells = row(cost)
    assert len(cells) == len(HEADS)
    assert cells == ["20, 10, 400, 1", "9.00", "104", "0.57", "2.00", "1.00", "250", "2.0"]
    idle = row(Cost(Load(20, 10, 0, 1), 9.0, 104_000_000, 0.0057))
    assert idle[4:] == ["-"] * 4


@pytest.mark.integration
def test_a_small_load_on_a_real_master(tmp_path: Path) -> None:
    load = Load(2, 2, 4, 1, port=_free_port(), idle_seconds=0.5, limit_seconds=120)
    cost = measure(load, tmp_path)
    assert cost.memory_bytes > 20e6
    assert cost.cpu_seconds > 0
    assert 0 < cost.queue_seconds <= cost.run_seconds
    assert not [p for p in psutil.Process().children(recursive=True) if p.is_running()]


@pytest.mark.integration
def test_a_master_that_cannot_start_says_why(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        load = Load(1, 1, 1, 1, port=int(taken.getsockname()[1]), limit_seconds=30)
        with pytest.raises(UserError, match="ended before") as error:
            measure(load, tmp_path)
    assert "listen" in str(error.value)
