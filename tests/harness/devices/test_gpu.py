from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.devices.gpu import has_gpu

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("node", ["dri/renderD128", "nvidia0", "dxg"])
def test_a_device_node_is_a_gpu(tmp_path: Path, node: str) -> None:
    assert not has_gpu(tmp_path, platform="linux")
    (tmp_path / node).parent.mkdir(exist_ok=True)
    (tmp_path / node).touch()
    assert has_gpu(tmp_path, platform="linux")


def test_a_screen_without_rendering_is_none(tmp_path: Path) -> None:
    (tmp_path / "dri").mkdir()
    (tmp_path / "dri" / "card0").touch()
    (tmp_path / "nvidiactl").touch()
    assert not has_gpu(tmp_path, platform="linux")


def test_other_systems_have_one(tmp_path: Path) -> None:
    assert has_gpu(tmp_path, platform="darwin")
