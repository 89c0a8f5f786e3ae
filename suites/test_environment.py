"""What must hold before any model is loaded: the browser's version, and what it offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.trial import version_gate

if TYPE_CHECKING:
    from harness.laboratory import Laboratory
    from harness.profiles import Profile


def test_the_browser_is_recent_enough(laboratory: Laboratory, profile: Profile) -> None:
    """Older browsers lack features that every engine here needs."""
    too_old = version_gate(profile, laboratory.facts(profile))
    assert too_old is None, f"unsupported: {too_old}"


def test_the_page_is_isolated(laboratory: Laboratory, profile: Profile) -> None:
    """Without cross-origin isolation an engine has one thread, and every figure is another's."""
    environment = laboratory.probe(profile).environment
    expected = profile.expect.cross_origin_isolated
    assert environment.cross_origin_isolated is (True if expected is None else expected)
    assert environment.secure_context is True


def test_webassembly_has_what_engines_need(laboratory: Laboratory, profile: Profile) -> None:
    """SIMD for every kernel, threads for all but the smallest models."""
    environment = laboratory.probe(profile).environment
    assert environment.wasm_simd, "the browser has no WebAssembly SIMD"
    assert environment.wasm_threads, "the browser has no WebAssembly threads"


def test_webgpu_is_as_the_profile_expects(laboratory: Laboratory, profile: Profile) -> None:
    """A profile that promises an adapter must have one; any adapter must give its limits."""
    webgpu = laboratory.probe(profile).backends.webgpu
    adapter = webgpu.adapter if webgpu is not None else None
    if profile.expect.webgpu is not None:
        reason = webgpu.reason if webgpu is not None else "not probed"
        assert (adapter is not None) is profile.expect.webgpu, f"WebGPU adapter: {reason}"
    if adapter is not None:
        assert adapter.limit("maxBufferSize"), "the adapter gives no maxBufferSize"
        assert adapter.limit("maxStorageBufferBindingSize")
