"""Where the maker ends and the GPU begins."""

from __future__ import annotations

import pytest

from harness.devices.android.facts.gpu import parse_gles


@pytest.mark.parametrize(
    ("said", "vendor", "renderer"),
    [
        ("ARM, Mali-G710, OpenGL ES 3.2 v1.r38p1", "ARM", "Mali-G710"),
        ("Qualcomm, Adreno (TM) 740, OpenGL ES 3.2 V@0676", "Qualcomm", "Adreno (TM) 740"),
        (
            "Samsung Electronics Co., Ltd., Samsung Xclipse 920, OpenGL ES 3.2",
            "Samsung Electronics Co., Ltd.",
            "Samsung Xclipse 920",
        ),
        (
            "Google Inc. (Intel), ANGLE (Intel, Vulkan 1.3.0 (x), y), OpenGL ES 3.1",
            "Google Inc. (Intel)",
            "ANGLE (Intel, Vulkan 1.3.0 (x), y)",
        ),
        ("Mali-G710", None, "Mali-G710"),
    ],
)
def test_a_company_may_have_a_comma(said: str, vendor: str | None, renderer: str) -> None:
    gles = parse_gles(f"header\nGLES: {said}\n")
    assert gles
    assert (gles.vendor, gles.renderer) == (vendor, renderer)
