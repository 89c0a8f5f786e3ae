"""The catalogue of device profiles: TOML files that say what a device is and how it is recognised.

Validation is strict, because a mistyped key that is ignored is a limit that is not applied. An
error names the file, the key, the reason and the nearest valid key.
"""

from __future__ import annotations

import fnmatch
import reprlib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from harness.emulation.limits import Limits, parse_bytes
from harness.errors import UserError, nearest, unknown
from results.tiers import Tier  # noqa: TC001 - pydantic reads annotations at run time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails

PROFILES_DIRECTORY = Path(__file__).parent.parent / "device_profiles"

S = TypeVar("S", bound=BaseModel)

Kind = Literal["desktop", "android", "ios"]
Engine = Literal["chromium", "firefox", "webkit"]
Channel = Literal["chrome", "chromium", "msedge", "firefox", "webkit"]


# A browser that shows an empty page needs about half of this.
LEAST_MEMORY: Final = 256 << 20


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _size(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_bytes(value)
    except UserError as error:
        raise ValueError(f"{error.problem}; {error.next_step}") from error


class BrowserSection(_Section):
    """Which browser to start: the first of `channels` that is found."""

    engine: Engine = "chromium"
    channels: tuple[Channel, ...] = Field(min_length=1)
    minimum_version: int = Field(
        default=110, ge=1, le=100_000, strict=True, description="major version"
    )
    args: tuple[str, ...] = ()
    software_adapter: bool = Field(
        default=False,
        strict=True,
        description="on a machine without a GPU, run WebGPU in software, and say so",
    )


class LimitsSection(_Section):
    """Memory and processor limits put around the browser."""

    memory: Annotated[int, BeforeValidator(_size), Field(ge=LEAST_MEMORY, strict=True)] | None = (
        None
    )
    cpus: float | None = Field(default=None, gt=0, le=1024, strict=True)
    processors: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        strict=True,
        description="so many are seen, where that is more than `cpus` needs",
    )

    @model_validator(mode="after")
    def _enough_processors(self) -> Self:
        if self.processors is not None and self.cpus is None:
            raise ValueError("processors: is for a limit of cpus; give that as well")
        if self.processors is not None and self.cpus is not None and self.processors < self.cpus:
            raise ValueError(f"processors: {self.processors} cannot give {self.cpus:g} cpus")
        return self


Size = Annotated[int, BeforeValidator(_size), Field(ge=1, strict=True)]


class HardwareSection(_Section):
    """A device's spec sheet. `None` is not known; nothing is guessed.

    A source begins with the keys that it is for, `soc, gpu: where it is said`; `screen` and
    `screen.density` are keys too. `unverified` names the keys that no source confirms; a source
    may still say how such a figure was reached.
    """

    soc: str | None = None
    gpu: str | None = None
    cores: int | None = Field(default=None, ge=1, le=1024, strict=True)
    memory: Size | None = Field(default=None, description="as sold, in powers of two")
    bandwidth_gb_s: float | None = Field(default=None, gt=0, description="of the memory, peak")
    gpu_gflops_f32: float | None = Field(default=None, gt=0, description="of the GPU, peak")
    cpu_gflops_f32: float | None = Field(default=None, gt=0, description="all cores, peak")
    sources: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()


class AppMemorySection(_Section):
    """How much memory one app may use before the system kills it, and why it is thought so."""

    available: Size
    basis: str = Field(min_length=1, description="`measured: ...` or `estimate: ...`")


class ScreenSection(_Section):
    """The screen in physical pixels, and dots an inch as Android counts them."""

    width: int = Field(ge=1, le=20_000, strict=True)
    height: int = Field(ge=1, le=20_000, strict=True)
    density: int = Field(ge=1, le=2_000, strict=True)


class AndroidSection(_Section):
    """How a phone is recognised, and what of it is used.

    `match` maps system properties to the values that are this device's: each property must have
    one of its values (globs are allowed).
    """

    match: dict[str, tuple[str, ...]] = Field(min_length=1)
    package: str = Field(default="com.android.chrome", description="of the browser")
    release: str | None = Field(default=None, description="of Android, of the virtual phone")
    properties: dict[str, str] = Field(
        default={}, description="further system properties of the virtual phone"
    )

    def matches(self, properties: Mapping[str, str]) -> bool:
        """Whether a phone with these system properties is this device."""
        return all(
            name in properties and any(fnmatch.fnmatchcase(properties[name], v) for v in values)
            for name, values in self.match.items()
        )


class IosSection(_Section):
    """How an iPhone or iPad is recognised: Apple's names of its models, such as `iPhone16,1`."""

    product_types: tuple[str, ...] = Field(min_length=1)
    release: str | None = Field(default=None, description="of iOS that it came with")


class ExpectSection(_Section):
    """What must hold on this device; a broken expectation fails the suite."""

    tier: Tier | None = None
    webgpu: bool | None = Field(default=None, strict=True)
    cross_origin_isolated: bool | None = Field(default=None, strict=True)


class Profile(_Section):
    """One device profile."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    name: str = Field(min_length=1)
    kind: Kind
    browser: BrowserSection
    limits: LimitsSection = LimitsSection()
    hardware: HardwareSection = HardwareSection()
    app_memory: AppMemorySection | None = None
    screen: ScreenSection | None = None
    android: AndroidSection | None = None
    ios: IosSection | None = None
    expect: ExpectSection = ExpectSection()
    spec_sheet_only: bool = Field(
        default=False, strict=True, description="its figures are known, and no live device is it"
    )
    notes: str = ""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if (self.kind == "android") != (self.android is not None):
            raise ValueError("an [android] section belongs to kind = 'android', and only there")
        if (self.kind == "ios") != (self.ios is not None):
            raise ValueError("an [ios] section belongs to kind = 'ios', and only there")
        if self.spec_sheet_only and self.kind != "desktop":
            # A phone is recognised by what it says of itself; any desktop would be "this machine".
            raise ValueError("spec_sheet_only: is for kind = 'desktop'; phones have their match")
        return self

    @property
    def resource_limits(self) -> Limits:
        """The limits as the limiter takes them."""
        return Limits(
            memory_bytes=self.limits.memory,
            cpus=self.limits.cpus,
            processors=self.limits.processors,
        )


def load_profile(path: Path) -> Profile:
    """Read and validate one profile.

    Raises:
        UserError: the file cannot be read, is not TOML, or is not a valid profile.
    """
    profile = load_description(path, Profile)
    check_name(path, profile.id)
    return profile


def check_name(path: Path, name: str) -> None:
    """A description is found by the name of its file, so that must be its id.

    Raises:
        UserError: it is not.
    """
    if name != path.stem:
        raise UserError(
            f"{path}: id: is {name!r}, but the file is named {path.stem!r}",
            f"rename the file to {name}.toml, or set id = {path.stem!r}",
        )


def load_description(path: Path, kind: type[S]) -> S:
    """Read and validate a TOML file that describes one `kind` of thing.

    Raises:
        UserError: the file cannot be read, is not TOML, or is not valid; a line for each fault.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error.reason})") from error
    except (ValueError, RecursionError) as error:  # numbers of any length, brackets of any depth
        raise UserError(f"{path}: is not valid TOML: {error}") from error
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        lines = [_explain(details, kind) for details in error.errors()]
        raise UserError("\n".join(f"{path}: {line}" for line in lines)) from error


def load_profiles(directory: Path = PROFILES_DIRECTORY) -> dict[str, Profile]:
    """All profiles of a directory, by id.

    Raises:
        UserError: the directory has none, or one of them is not valid.
    """
    profiles = {path.stem: load_profile(path) for path in sorted(directory.glob("*.toml"))}
    if not profiles:
        raise UserError(f"{directory}: there are no device profiles (*.toml) here")
    return profiles


def select(profiles: Mapping[str, Profile], wanted: Iterable[str]) -> list[Profile]:
    """The profiles that ids, globs or `all` name, each once, in the order asked for.

    Raises:
        UserError: a word names no profile; the message names the nearest ones.
    """
    chosen: dict[str, Profile] = {}
    for word in (part.strip() for item in wanted for part in item.split(",")):
        if word == "all":
            ids = list(profiles)
        elif any(mark in word for mark in "*?["):
            ids = fnmatch.filter(profiles, word)
        else:
            ids = [word] if word in profiles else []
        if not ids:
            raise unknown("device", word, profiles)
        chosen.update((name, profiles[name]) for name in ids)
    return list(chosen.values())


def _explain(details: ErrorDetails, kind: type[BaseModel]) -> str:
    """One validation error as `key: reason`, with the nearest valid key where one is unknown."""
    location = [str(part) for part in details["loc"]]
    key = ".".join(location)
    if details["type"] == "extra_forbidden":
        known = list(_section(location[:-1], kind).model_fields)
        close = nearest(location[-1], known, count=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if details["type"] == "missing":
        return f"{key}: is required"
    if details["type"] == "model_type":
        return f"{key}: is not a section; write [{key}] and its keys below"
    if details["type"] == "value_error":  # one of the models' own; of a whole file it has no key
        return ": ".join(filter(None, (key, details["msg"].removeprefix("Value error, "))))
    reason = details["msg"]
    return f"{key}: {reason[:1].lower()}{reason[1:]} (it is {_shown(details['input'])})"


def _shown(value: object) -> str:
    """A value of a file, short enough for a line."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python does not print integers of more than 4300 digits
        return "a very long number"


def _section(location: list[str], kind: type[BaseModel]) -> type[BaseModel]:
    """The section class that a path of keys leads to."""
    section = kind
    for key in location:
        if key not in section.model_fields:  # the number of one of several sections
            continue
        annotation: Any = section.model_fields[key].annotation
        candidates = [annotation, *get_args(annotation)]
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return section
