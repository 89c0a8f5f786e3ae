"""`fleet.toml`: what is taken, and how what is wrong is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.errors import UserError
from harness.fleet.config import is_loopback
from harness.fleet.loading import load_fleet

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
[controller]
host = "lab-controller"
results = "results"

[[devices]]
name = "pixel7-a"
host = "lab-1"
profile = "pixel7"
serial = "2B181FDH2000VD"
power_cycle = ["uhubctl", "-l", "1-1", "-p", "2", "-a", "cycle"]
properties = { hub = "1-1", wifi = false }

[[devices]]
name = "pixel7-b"
host = "lab-2"
profile = "pixel7"

[[devices]]
name = "s24"
host = "lab-1"
profile = "galaxy-s24"

[schedules.smoke]
at = "02:00"
models = ["gemma-3-270m"]
deadline = "5h"
on_new = ["browser", "runtime"]

[schedules.weekly]
at = "23:30"
days = ["sat"]
devices = ["pixel*"]
models = ["gemma-2b"]
runtimes = ["all"]
quants = ["int4", "int8"]

[retries]
infra = 1
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "fleet.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_lab_is_read(tmp_path: Path) -> None:
    fleet = load_fleet(written(tmp_path, GOOD))
    assert fleet.profiles == ["pixel7", "galaxy-s24"]
    assert [d.name for d in fleet.devices_of("pixel7")] == ["pixel7-a", "pixel7-b"]
    assert fleet.device("pixel7-a").properties == {"hub": "1-1", "wifi": False}
    assert fleet.controller.results == tmp_path / "results"
    assert fleet.schedule("smoke").deadline == 5 * 3600
    assert fleet.profiles_of(fleet.schedule("smoke")) == ["pixel7", "galaxy-s24"]
    assert fleet.profiles_of(fleet.schedule("weekly")) == ["pixel7"]
    assert (fleet.retries.infra, fleet.retries.failure) == (1, 0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('profile = "galaxy-s24"', 'profile = "galaxi-s24"', "did you mean galaxy-s24"),
        ('profile = "galaxy-s24"', 'profile = "desktop-rdna4"', "is a spec sheet"),
        ('name = "pixel7-b"', 'name = "pixel7-a"', "2 have the name 'pixel7-a'"),
        ('name = "pixel7-b"', 'name = "Pixel 7"', "devices.1.name: string should match"),
        (
            'name = "s24"',
            'name = "s24"\nserial = "2B181FDH2000VD"',
            "'pixel7-a' and 's24' have the serial '2B181FDH2000VD'",
        ),
        ('host = "lab-2"', 'host = "lab-1"', "devices.pixel7-b.serial: is required"),
        ('at = "02:00"', 'at = "2 am"', "schedules.smoke.at: string should match"),
        ('deadline = "5h"', 'deadline = "5"', "'5' is not a span of time"),
        ('days = ["sat"]', 'days = ["saturday"]', "schedules.weekly.days.0"),
        ('models = ["gemma-2b"]', 'models = ["gema-2b"]', "schedules.weekly.models: unknown model"),
        ('runtimes = ["all"]', 'runtimes = ["wlama/wasm"]', "did you mean wllama/wasm"),
        ('quants = ["int4", "int8"]', 'quants = ["int5"]', "unknown quantisation 'int5'"),
        ('devices = ["pixel*"]', 'devices = ["iphone*"]', "'iphone*' is no device or profile"),
        ("infra = 1", "infar = 1", "retries.infar: unknown key; did you mean 'infra'?"),
        ('results = "results"', "port = 70000", "controller.port: input should be less than"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(UserError) as caught:
        load_fleet(written(tmp_path, GOOD.replace(old, new)))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/fleet.toml: ")


def test_every_unknown_name_is_said_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("galaxy-s24", "galaxi-s24").replace("gemma-2b", "gema-2b")
    with pytest.raises(UserError) as caught:
        load_fleet(written(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 2


def test_a_word_that_names_nothing_names_what_is_near(tmp_path: Path) -> None:
    fleet = load_fleet(written(tmp_path, GOOD))
    with pytest.raises(UserError, match="did you mean smoke"):
        fleet.schedule("smoek")
    with pytest.raises(UserError, match="did you mean pixel7-a"):
        fleet.device("pixel7a")


def test_loopback() -> None:
    for address in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert is_loopback(address), address
    for address in ("0.0.0.0", "10.0.0.1", "::", "lab-1", ""):  # noqa: S104
        assert not is_loopback(address), address
