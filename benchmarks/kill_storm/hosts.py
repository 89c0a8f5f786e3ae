"""What people do at a host of the storm: ask `tierlab devices`, give a device back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from harness.devices.device_state import Condition, DeviceState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SECONDS: Final = 300.0


def tierlab(*words: str, environment: Mapping[str, str], within: float = _SECONDS) -> str:
    """Run a command of tierlab; what it printed. One that fails raises."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=within,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"tierlab {' '.join(words)}: {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def quarantined(state: Path) -> list[str]:
    """The resources of a host that are in quarantine."""
    found = []
    for file in sorted((state / "devices").glob("*.json")):
        try:
            known = DeviceState.model_validate_json(file.read_bytes())
        except (OSError, ValidationError):
            continue
        if known.condition is Condition.QUARANTINED:
            found.append(known.resource)
    return found


def give_back(state: Path, environment: Mapping[str, str]) -> int:
    """End the quarantines of a host, as a person does who was told of them; how many."""
    ended = quarantined(state)
    for resource in ended:
        tierlab("devices", "release", resource, environment=environment)
    return len(ended)


def not_ready(profile: str, environment: Mapping[str, str], *options: str) -> list[str]:
    """Why `tierlab devices` does not call a profile ready; checked first where that is due."""
    said = _asked(profile, environment, *options)
    if said["use"] == "unhealthy":
        for device in said["devices"]:
            if device["use"] == "unhealthy":
                tierlab("devices", "check", device["resource"], environment=environment)
        said = _asked(profile, environment, *options)
    return [] if said["use"] == "ready" else [f"tierlab devices: {profile}: {json.dumps(said)}"]


def _asked(profile: str, environment: Mapping[str, str], *options: str) -> dict[str, Any]:
    found = json.loads(tierlab("devices", "--json", *options, environment=environment))
    (line,) = (one for one in found["profiles"] if one["profile"] == profile)
    return dict(line)
