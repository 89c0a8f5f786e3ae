"""What a profile's spec sheet says, as the model takes it; what it does not say stays unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.profiles import Kind, Profile


@dataclass(frozen=True, slots=True)
class Sheet:
    """The figures of one device. `None` is not known.

    Attributes:
        device: id of the profile.
        kind: of the profile.
        bandwidth: bytes a second of its memory, peak.
        gpu_flops: fp32 operations a second of its GPU, peak.
        cpu_flops: fp32 operations a second of all its cores, peak.
        memory: bytes as sold.
        budget: bytes that one app or page may use; `budget_source` is who says so.
        unverified: keys of these that no source confirms.
        webgpu: whether the profile says that its browser has WebGPU.
        release: of the system that it came with.
    """

    device: str
    kind: Kind
    bandwidth: float | None = None
    gpu_flops: float | None = None
    cpu_flops: float | None = None
    memory: int | None = None
    budget: int | None = None
    budget_source: str = ""
    unverified: tuple[str, ...] = ()
    webgpu: bool | None = None
    release: str | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing at all is known: such a profile describes no certain device."""
        return not (self.bandwidth or self.gpu_flops or self.cpu_flops or self.memory)


def sheet_of(profile: Profile) -> Sheet:
    """The spec sheet of a profile."""
    hardware = profile.hardware
    release = profile.ios.release if profile.ios else None
    budget, source = _budget(profile)
    return Sheet(
        device=profile.id,
        kind=profile.kind,
        bandwidth=_giga(hardware.bandwidth_gb_s),
        gpu_flops=_giga(hardware.gpu_gflops_f32),
        cpu_flops=_giga(hardware.cpu_gflops_f32),
        memory=hardware.memory,
        budget=budget,
        budget_source=source,
        unverified=hardware.unverified,
        webgpu=profile.expect.webgpu,
        release=release,
    )


def _giga(value: float | None) -> float | None:
    return None if value is None else value * 1e9


def _budget(profile: Profile) -> tuple[int | None, str]:
    if (limit := profile.limits.memory) is not None:
        return limit, "the profile's memory limit"
    if (app := profile.app_memory) is not None:
        return app.available, f"what one app may use, {app.basis.partition(':')[0]}"
    return profile.hardware.memory, "all of its memory"
