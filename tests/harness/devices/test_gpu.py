from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.gpu import (
    SOFTWARE_ADAPTER_ARGS,
    VULKAN_ADAPTER_ARGS,
    adapter_args,
    gpu_names,
    has_gpu,
)

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


def test_a_gpu_on_linux_is_reached_by_vulkan() -> None:
    assert adapter_args((), software=True, gpu=True, platform="linux") == VULKAN_ADAPTER_ARGS
    assert adapter_args(("--mute",), software=False, gpu=True, platform="linux")
    assert adapter_args((), software=True, gpu=True, platform="darwin") == ()


def test_one_in_software_stands_in_where_it_may() -> None:
    assert adapter_args((), software=True, gpu=False, platform="linux") == SOFTWARE_ADAPTER_ARGS
    assert adapter_args((), software=False, gpu=False, platform="linux") == ()


@pytest.mark.parametrize("own", ["--disable-gpu", "--use-webgpu-adapter=swiftshader"])
@pytest.mark.parametrize("gpu", [True, False])
def test_a_profile_that_chooses_its_gpu_is_left_alone(own: str, *, gpu: bool) -> None:
    assert adapter_args((own,), software=True, gpu=gpu, platform="linux") == ()


# What Chromium 156 answered on a machine with an NVIDIA H200.
H200 = "ANGLE (NVIDIA, Vulkan 1.4.312 (NVIDIA NVIDIA H200 (0x00002335)), NVIDIA-580.159.4.0)"


def test_gpus_are_named_by_the_browser() -> None:
    device = {"vendorId": 0, "deviceId": 0, "vendorString": "Google Inc. (NVIDIA)"}
    assert gpu_names({"gpu": {"devices": [{**device, "deviceString": H200}]}}) == [H200]
    assert gpu_names({"gpu": {"devices": [device, {"deviceString": "x" * 900}]}}) == ["x" * 200]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["gpu", "devices", "deviceString"]), inner)
        ),
        max_leaves=8,
    )
)
def test_whatever_is_answered_names_are_texts(answer: Any) -> None:
    names = gpu_names({"gpu": answer})
    assert all(isinstance(name, str) and name for name in names)
