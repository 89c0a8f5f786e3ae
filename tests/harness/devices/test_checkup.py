from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from harness.devices.base import DeviceLostError, Gate, HeldElsewhereError
from harness.devices.checkup import check_up
from harness.errors import UserError
from tests.harness.fakes import FakeDevice, LostDevice, probe_well

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harness.devices.recovery import Finding


def check(device: FakeDevice, folder: Path, *, within: float = 30.0) -> Finding:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        yield device

    return asyncio.run(check_up(opened, folder, within=within))


def refuse(error: Exception, folder: Path) -> Finding:
    def opened() -> Any:
        raise error

    return asyncio.run(check_up(opened, folder, within=30))


def test_a_device_whose_browser_opens_a_page_is_well(tmp_path: Path) -> None:
    device = FakeDevice(probe_well)
    found = check(device, tmp_path / "raw")
    assert (found.passed, found.waits) == (True, False)
    ((function, word),) = device.sessions[0].tabs[0].calls
    assert function == "tierlabAnswer"
    assert word
    assert (tmp_path / "raw").is_dir()


def test_a_closed_gate_is_waited_for_and_no_browser_started(tmp_path: Path) -> None:
    device = FakeDevice()
    device.gate = Gate("battery level", passed=False, observed="12 %", limit="at least 30 %")
    found = check(device, tmp_path)
    assert (found.passed, found.waits) == (False, True)
    assert found.reason == "battery level is 12 %, the limit is at least 30 %"
    assert device.sessions == []


def test_a_browser_that_opens_no_page(tmp_path: Path) -> None:
    found = check(LostDevice(probe_well), tmp_path)
    assert not found.passed
    assert found.reason.endswith("/page/blank.html could not be opened")


class Silent(FakeDevice):
    async def answers(self) -> str | None:
        return "its shell fails"


def test_a_device_that_does_not_answer_is_told_from_its_gates(tmp_path: Path) -> None:
    found = check(Silent(), tmp_path)
    assert (found.passed, found.waits, found.reason) == (False, False, "its shell fails")


class Mute(FakeDevice):
    async def gates(self) -> list[Gate]:
        await asyncio.Event().wait()
        raise AssertionError


def test_a_device_that_says_nothing_more(tmp_path: Path) -> None:
    found = check(Mute(), tmp_path, within=0.05)
    assert found.reason == "the health check did not end within 0 s"
    assert not found.passed


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            DeviceLostError("the phone\nis \x1b[2Jgone"),
            "the phone is \N{REPLACEMENT CHARACTER}[2Jgone",
        ),
        (UserError("there is no browser", "install one"), "there is no browser"),
        (OSError("no files left"), "no files left"),
    ],
)
def test_what_cannot_be_opened_is_told_in_a_harmless_line(
    error: Exception, reason: str, tmp_path: Path
) -> None:
    assert refuse(error, tmp_path).reason == reason


def test_a_phone_of_another_host_is_not_ill(tmp_path: Path) -> None:
    with pytest.raises(HeldElsewhereError):
        refuse(HeldElsewhereError("held by another run"), tmp_path)


@pytest.mark.integration
def test_a_real_browser_answers(tmp_path: Path) -> None:
    from harness.devices.desktop import DesktopDevice  # noqa: PLC0415 - a browser is needed
    from harness.profiles import load_profiles  # noqa: PLC0415

    profile = load_profiles()["desktop"]
    found = asyncio.run(check_up(lambda: DesktopDevice(profile, None), tmp_path / "x", within=60))
    assert found.passed, found.reason
