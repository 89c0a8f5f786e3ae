"""What a phone's profile must hold beyond its schema: sources, plausible figures, one phone each.

A profile that ships is data that others rely on: a fact without a source says so, an estimate
follows its rule, and no phone is two profiles'.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final

from harness.emulation.limits import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from harness.profiles import AppMemorySection, HardwareSection, Profile, ScreenSection

# The rule of docs/profiles.md, which holds the measurements that it is drawn through.
_SHARE: Final = 0.55
_SYSTEM: Final = 1 << 30
RULE: Final = "estimate: 0.55 of memory, less 1 GiB; see docs/profiles.md"
_ROUNDED_TO: Final = (1 << 30) / 10

_GIB: Final = 1 << 30
# What phones and tablets of these years have, with room on both sides.
_PLAUSIBLE: Final[Mapping[str, tuple[float, float]]] = {
    "cores": (4, 16),
    "memory": (1 * _GIB, 64 * _GIB),
    "bandwidth_gb_s": (5, 300),
    "gpu_gflops_f32": (20, 20_000),
    "cpu_gflops_f32": (20, 5_000),
}
# Of the shorter side, in density-independent pixels: a small phone to a large tablet.
_PLAUSIBLE_WIDTH: Final = (280, 1400)
_PLAUSIBLE_APP_SHARE: Final = (0.1, 0.9)

_NEEDED: Final = ("soc", "gpu", "cores", "memory")
_SOURCE: Final = re.compile(r"(?P<keys>[a-z0-9_., ]+): \S.*", re.DOTALL)
_BASIS: Final = re.compile(r"(measured|estimate): \S.*", re.DOTALL)
_FINGERPRINT: Final = re.compile(
    r"(?P<brand>[^/:]+)/(?P<name>[^/:]+)/(?P<device>[^/:]+):(?P<release>[^/:]+)/"
    r"[^/:]+/[^/:]+:user/release-keys"
)


def estimated_app_memory(memory: int) -> int:
    """What the rule gives one app, in bytes, to a tenth of a GiB.

    Args:
        memory: as sold, in bytes.
    """
    tenths = round((memory * _SHARE - _SYSTEM) / _ROUNDED_TO)
    return round(max(tenths, 1) * _ROUNDED_TO)


def problems(profile: Profile) -> list[str]:
    """What is wrong with a profile, each as `key: reason`: a phone's, or a spec sheet's."""
    if profile.kind != "android":
        # A spec sheet is nothing but its facts; other profiles may have none.
        return list(_sources(profile)) if profile.spec_sheet_only else []
    found = [*_facts(profile), *_sources(profile), *_identity(profile)]
    if profile.screen:
        found += _screen(profile.screen)
    if profile.app_memory:
        found += _app_memory(profile.app_memory, profile.hardware)
    return found


def clashes(profiles: Iterable[Profile]) -> list[str]:
    """Which phones more than one profile would match."""
    phones = [profile for profile in profiles if profile.android]
    return [
        f"{other.id}: android.match: a phone as {profile.id} describes it matches this one too"
        for profile, other in itertools.permutations(phones, 2)
        if other.android and any(map(other.android.matches, _descriptions(profile)))
    ]


def _facts(profile: Profile) -> Iterator[str]:
    for key in _NEEDED:
        if getattr(profile.hardware, key) is None:
            yield f"hardware.{key}: is missing"
    for section in ("app_memory", "screen"):
        if getattr(profile, section) is None:
            yield f"{section}: is missing"
    for key, (least, most) in _PLAUSIBLE.items():
        value = getattr(profile.hardware, key)
        if value is not None and not least <= value <= most:
            yield f"hardware.{key}: {value:g} is not plausible: {least:g} to {most:g} are"


def _sources(profile: Profile) -> Iterator[str]:
    """Each fact has a source that names it, or is marked."""
    hardware = profile.hardware
    sourced: set[str] = set()
    for source in hardware.sources:
        matched = _SOURCE.fullmatch(source)
        if matched:
            sourced.update(key.strip() for key in matched["keys"].split(","))
        else:
            yield f"hardware.sources: {source!r} does not begin with the keys that it is for"
    plain = [key for key in type(hardware).model_fields if key not in {"sources", "unverified"}]
    given = {key for key in plain if getattr(hardware, key) is not None}
    if profile.screen:
        given |= {"screen", "screen.density"}
    for key in hardware.unverified:
        if key not in given:
            yield f"hardware.unverified: {key!r} is no key that this profile has"
    missing = given - sourced - set(hardware.unverified)
    if "screen" in sourced:
        missing -= {"screen.density"}
    yield from (
        f"hardware.sources: none is for {key!r}; name one, or list it in unverified"
        for key in sorted(missing)
    )


def _identity(profile: Profile) -> Iterator[str]:
    android = profile.android
    if android is None:
        return
    own = {name: android.properties.get(name, values[0]) for name, values in android.match.items()}
    if not android.matches(own):
        yield "android.match: does not match the profile's own properties"
    if android.release is None or not android.release.isdecimal():
        yield f"android.release: {android.release!r} is no release"
    properties = android.properties
    fingerprint = properties.get("ro.build.fingerprint")
    if fingerprint is None:
        return
    parts = _FINGERPRINT.fullmatch(fingerprint)
    if parts is None:
        yield f"android.properties: {fingerprint!r} is no fingerprint of a released build"
        return
    said = {
        "brand": properties.get("ro.product.brand"),
        "name": properties.get("ro.product.name"),
        "device": properties.get("ro.product.device"),
        "release": android.release,
    }
    yield from (
        f"android.properties: the fingerprint's {key} is {parts[key]!r}, the profile's {value!r}"
        for key, value in said.items()
        if value != parts[key]
    )


def _screen(screen: ScreenSection) -> Iterator[str]:
    least, most = _PLAUSIBLE_WIDTH
    width = min(screen.width, screen.height) * 160 / screen.density
    if not least <= width <= most:
        yield f"screen: {width:.0f} dp across are not plausible: {least} to {most} are"


def _app_memory(section: AppMemorySection, hardware: HardwareSection) -> Iterator[str]:
    if not _BASIS.fullmatch(section.basis):
        yield "app_memory.basis: does not begin with `measured: ` or `estimate: `"
    if hardware.memory is None:
        return
    least, most = _PLAUSIBLE_APP_SHARE
    if not least <= section.available / hardware.memory <= most:
        yield (
            f"app_memory.available: {format_bytes(section.available)} of"
            f" {format_bytes(hardware.memory)} is not plausible"
        )
    expected = estimated_app_memory(hardware.memory)
    off = abs(section.available - expected) > _ROUNDED_TO / 2
    if section.basis == RULE and off:
        yield (
            f"app_memory.available: is {format_bytes(section.available)}; the rule that it names"
            f" gives {format_bytes(expected)}"
        )


def _descriptions(profile: Profile) -> Iterator[dict[str, str]]:
    """The properties of every phone that the profile says is this device, as far as it says."""
    android = profile.android
    if android is None:
        return
    names = list(android.match)
    for values in itertools.product(*android.match.values()):
        yield {**android.properties, **dict(zip(names, values, strict=True))}
