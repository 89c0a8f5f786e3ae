"""The profile of a captured phone, as TOML: what it says, and what was known of it before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.emulation.capture.toml import array, quoted, section
from harness.emulation.limits import format_bytes
from harness.errors import UserError
from harness.profile_check import RULE, estimated_app_memory
from harness.profiles import HardwareSection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from harness.devices.android.facts import PhoneFacts
    from harness.profiles import Profile

_GIB: Final = 1 << 30
_SOLD_GIB: Final = (1, 2, 3, 4, 6, 8, 10, 12, 16, 18, 24, 32, 48, 64)
_DEFAULT_PACKAGE: Final = "com.android.chrome"

# What a virtual phone needs to be this phone; it works out the rest itself (API level, ABI, ...).
_PROPERTIES: Final = (
    "ro.product.manufacturer", "ro.product.brand", "ro.product.model", "ro.product.name",
    "ro.product.device", "ro.product.board", "ro.board.platform", "ro.hardware",
    "ro.hardware.vulkan", "ro.hardware.egl", "ro.soc.manufacturer", "ro.soc.model",
    "ro.build.fingerprint", "ro.build.version.security_patch", "ro.opengles.version",
    "ro.config.low_ram", "dalvik.vm.heapgrowthlimit", "dalvik.vm.heapsize",
)  # fmt: skip
# What a phone does not tell of itself, or only by a shorter name: `GS201` for `Tensor G2`.
_FROM_BEFORE: Final = ("soc", "gpu", "bandwidth_gb_s", "gpu_gflops_f32", "cpu_gflops_f32")
_SIZE: Final = re.compile(r"^Physical size: (\d{1,5})x(\d{1,5})\s*$", re.MULTILINE)
_DENSITY: Final = re.compile(r"^Physical density: (\d{1,4})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a phone, without what is personal."""

    facts: PhoneFacts
    properties: Mapping[str, str]
    screen_size: str
    screen_density: str
    package: str


def as_sold(memory_bytes: int) -> int:
    """The memory that was sold, in bytes, of what Linux sees of it: the next size that is sold."""
    return next((g * _GIB for g in _SOLD_GIB if g * _GIB >= memory_bytes), memory_bytes)


def profile_id(properties: Mapping[str, str]) -> str:
    """An id for a phone that no profile is for: `google-pixel-7`."""
    words = [properties.get(f"ro.product.{key}", "") for key in ("brand", "model")]
    plain = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")
    return plain[:60].strip("-") or "phone"


def match_of(properties: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What to recognise such a phone by.

    Raises:
        UserError: it has neither a device's nor a model's name.
    """
    for name in ("ro.product.device", "ro.product.model"):
        if properties.get(name):
            return {name: (properties[name],)}
    raise UserError(
        "the phone names neither ro.product.device nor ro.product.model",
        "without them no profile can match it",
    )


def profile_toml(id_: str, seen: Seen, *, before: Profile | None, day: str) -> str:
    """The text of the profile.

    Args:
        id_: of the profile.
        seen: of the phone.
        before: the profile that matched the phone; it keeps its name, and what no phone tells.
        day: of the capture, YYYY-MM-DD.

    Raises:
        UserError: the phone says too little of itself.
    """
    properties, facts = seen.properties, seen.facts
    brand, model = (properties.get(f"ro.product.{k}", "") for k in ("manufacturer", "model"))
    name = f"{brand[:1].upper()}{brand[1:]} {model}".strip() or id_
    match = match_of(properties)
    notes = f"captured on {day} with `tierlab profile capture`"
    if before and before.android:
        name, match = before.name, before.android.match
        notes = f"{before.notes} {notes}".strip()
    if facts.emulated:
        notes += ", from a virtual phone or an emulator"
    lines = [
        f"id = {quoted(id_)}",
        f"name = {quoted(name)}",
        'kind = "android"',
        f"notes = {quoted(notes)}",
        *section("browser", _browser(before)),
        *section("android", _android(seen)),
        *section("android.match", ((key, array(values)) for key, values in match.items())),
        *section("android.properties", _kept(properties)),
        *section("hardware", _hardware(facts, before, day)),
        *section("app_memory", _app_memory(facts, before)),
        *section("screen", _screen(seen)),
    ]
    return "\n".join([*lines, ""])


def _browser(before: Profile | None) -> Iterator[tuple[str, str]]:
    yield "engine", quoted("chromium")
    yield "channels", array(["chrome"])
    yield "minimum_version", str(before.browser.minimum_version if before else 121)


def _android(seen: Seen) -> Iterator[tuple[str, str]]:
    if seen.facts.release:
        yield "release", quoted(seen.facts.release)
    if seen.package != _DEFAULT_PACKAGE:
        yield "package", quoted(seen.package)


def _kept(properties: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield from ((key, quoted(properties[key])) for key in _PROPERTIES if properties.get(key))


def _hardware(facts: PhoneFacts, before: Profile | None, day: str) -> Iterator[tuple[str, str]]:
    known = before.hardware if before else HardwareSection()
    kept = [key for key in _FROM_BEFORE if getattr(known, key) is not None]
    told = [
        key
        for key in ("soc", "gpu", "cores")
        if key not in kept and getattr(facts, key) is not None
    ]
    yield from ((key, _value(getattr(known, key))) for key in kept)
    yield from ((key, _value(getattr(facts, key))) for key in told)
    sources = [f"{', '.join([*told, 'screen'])}: the phone itself, {day}"]
    if facts.memory_bytes:
        yield "memory", quoted(_size(as_sold(facts.memory_bytes)))
        seen = format_bytes(facts.memory_bytes)
        sources.append(f"memory: Linux sees {seen}, {day}; the next size that is sold")
    sources += [only for source in known.sources if (only := _only(source, kept))]
    yield "sources", "[\n" + "".join(f"    {quoted(source)},\n" for source in sources) + "]"
    unverified = [key for key in known.unverified if key in kept]
    if unverified:
        yield "unverified", array(unverified)


def _value(value: str | float) -> str:
    return quoted(value) if isinstance(value, str) else f"{value:g}"


def _only(source: str, keys: Iterable[str]) -> str:
    """A source for these of its keys, as the phone itself tells the others now; "" without any."""
    named, _, rest = source.partition(":")
    own = {key.strip() for key in named.split(",")}
    still = [key for key in keys if key in own]
    return f"{', '.join(still)}:{rest}" if still else ""


def _app_memory(facts: PhoneFacts, before: Profile | None) -> Iterator[tuple[str, str]]:
    if before and before.app_memory and before.app_memory.basis.startswith("measured"):
        yield "available", quoted(_size(before.app_memory.available))
        yield "basis", quoted(before.app_memory.basis)
    elif facts.memory_bytes:
        yield "available", quoted(_size(estimated_app_memory(as_sold(facts.memory_bytes))))
        yield "basis", quoted(RULE)


def _screen(seen: Seen) -> Iterator[tuple[str, str]]:
    size, density = _SIZE.search(seen.screen_size), _DENSITY.search(seen.screen_density)
    if size and density:
        yield from (("width", size[1]), ("height", size[2]), ("density", density[1]))


def _size(size: int) -> str:
    """Bytes as the catalogue writes them: whole or tenths of GiB where that is exact enough."""
    return f"{round(size / _GIB, 1):g}GiB"
