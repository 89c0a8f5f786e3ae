"""`fleet.toml`: the devices of a lab of many hosts, what they run and when.

One file describes the whole lab. It is read on the controller; a host needs no more of it than the
name of each of its workers. Validation is strict and an error names the key, as with device
profiles. There are no secrets in it.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from harness.errors import UserError, unknown
from harness.fleet.spans import parse_span

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Trigger = Literal["browser", "runtime"]
Suite = Literal["environment", "limits", "probe", "full_load", "oom", "sources", "capabilities"]

# What Buildbot takes as the name of a worker, a builder or a scheduler, and what is safe in a path.
NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,49}$"

# The worker that the master has of its own.
CONTROLLER: Final = "controller"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _span(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_span(value)
    except UserError as error:
        raise ValueError(f"{error.problem}; {error.next_step}") from error


Span = Annotated[float, BeforeValidator(_span), Field(gt=0, description="seconds; `5h` in TOML")]
Port = Annotated[int, Field(ge=1, le=65_535, strict=True)]
Name = Annotated[str, Field(pattern=NAME)]


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach what listens on `address`."""
    if address == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


class Controller(_Section):
    """Where the Buildbot master runs, and where the results of the whole lab are kept."""

    host: str = Field(default="127.0.0.1", description="what workers connect to")
    bind: str = Field(default="127.0.0.1", description="the address that workers connect at")
    port: Port = Field(default=9989, description="for workers")
    web_bind: str = Field(default="127.0.0.1", description="the address of the web page")
    web_port: Port = 8010
    url: str | None = Field(default=None, description="of the web page, as people type it")
    results: Path = Field(default=Path("tierlab-results"), description="relative to this file")
    database: str = Field(default="sqlite:///state.sqlite", description="of Buildbot")
    lost_after: Span = Field(
        default=45.0, le=3600, description="how long a connection may be silent before it is cut"
    )
    rest: Span = Field(
        default=30.0,
        le=3600,
        description="how long a worker rests after a fault of the lab, and twice as long each time",
    )
    collect_every: Span = Field(
        default=1800.0, description="how often a host is asked for what has no job coming"
    )

    @property
    def web_url(self) -> str:
        """The address of the web page, ending in a slash."""
        url = self.url or f"http://{self.web_bind}:{self.web_port}/"
        return url if url.endswith("/") else f"{url}/"


class Device(_Section):
    """One device, which is one worker of Buildbot."""

    name: Name = Field(description="of the worker; names no other")
    host: Name = Field(description="the machine that it is plugged into")
    profile: str = Field(description="a device profile")
    serial: str | None = Field(
        default=None, min_length=1, max_length=64, description="as `adb devices` names it"
    )
    power_cycle: tuple[str, ...] = Field(
        default=(), description="a command that switches its USB port off and on"
    )
    properties: dict[Name, str | int | bool] = Field(
        default={}, description="what schedules and people choose it by"
    )


class Schedule(_Section):
    """What is run, and when. Without `at` it runs when something is new, or by hand."""

    at: str | None = Field(
        default=None, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="local time"
    )
    days: tuple[Day, ...] = Field(default=(), description="none: every day")
    devices: tuple[str, ...] = Field(
        default=("*",), min_length=1, description="profiles or names of devices, or globs of them"
    )
    models: tuple[str, ...] = Field(min_length=1)
    runtimes: tuple[str, ...] = Field(default=("best",), min_length=1)
    quants: tuple[str, ...] = Field(default=(), description="none: each engine's own default")
    suites: tuple[Suite, ...] = Field(
        default=("full_load",), min_length=1, description="which files of suites/"
    )
    prompt_tokens: int = Field(default=16, ge=1, le=1_000_000, strict=True)
    output_tokens: int = Field(default=8, ge=1, le=1_000_000, strict=True)
    deadline: Span = Field(default=86_400.0, description="for the whole of it")
    on_new: tuple[Trigger, ...] = Field(default=(), description="also when this has a new version")


class Retries(_Section):
    """How often a job is tried again, by the cause of its end."""

    infra: int = Field(default=2, ge=0, le=20, strict=True, description="a fault of the lab's own")
    incomplete: int = Field(
        default=3,
        ge=0,
        le=20,
        strict=True,
        description="a worker, host or controller that was lost",
    )
    failure: int = Field(
        default=0, ge=0, le=20, strict=True, description="a load that crashed or hung"
    )


class Fleet(_Section):
    """The whole lab."""

    controller: Controller = Controller()
    devices: tuple[Device, ...] = Field(min_length=1)
    schedules: dict[Name, Schedule] = {}
    retries: Retries = Retries()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if any(device.name == CONTROLLER for device in self.devices):
            raise ValueError(f"devices: {CONTROLLER!r} is the name of the controller's own worker")
        for name, times in Counter(device.name for device in self.devices).items():
            if times > 1:
                raise ValueError(f"devices: {times} have the name {name!r}; give each its own")
        by_serial: dict[str, str] = {}
        for device in self.devices:
            if device.serial is None:
                continue
            other = by_serial.setdefault(device.serial, device.name)
            if other != device.name:
                raise ValueError(
                    f"devices: {other!r} and {device.name!r} have the serial {device.serial!r};"
                    " two workers would share one phone"
                )
        return self

    @property
    def profiles(self) -> list[str]:
        """The profiles that there is a device of, each once, in the order of the file."""
        return list(dict.fromkeys(device.profile for device in self.devices))

    def devices_of(self, profile: str) -> list[Device]:
        """The devices of a profile."""
        return [device for device in self.devices if device.profile == profile]

    def device(self, name: str) -> Device:
        """The device of a name.

        Raises:
            UserError: there is none; the message names the nearest ones.
        """
        for device in self.devices:
            if device.name == name:
                return device
        raise unknown("worker", name, [device.name for device in self.devices])

    def schedule(self, name: str) -> Schedule:
        """The schedule of a name.

        Raises:
            UserError: there is none; the message names the nearest ones.
        """
        if name not in self.schedules:
            raise unknown("schedule", name, self.schedules)
        return self.schedules[name]

    def profiles_of(self, schedule: Schedule) -> list[str]:
        """The profiles that a schedule is for."""
        return list(
            dict.fromkeys(d.profile for d in self.devices if is_wanted(d, schedule.devices))
        )


def is_wanted(device: Device, words: tuple[str, ...]) -> bool:
    """Whether any of the words, which may be globs, is the device's name or its profile."""
    names = (device.profile, device.name)
    return any(fnmatch.fnmatchcase(name, word) for word in words for name in names)
