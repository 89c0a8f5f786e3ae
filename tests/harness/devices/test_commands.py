"""`tierlab devices` and its actions, with a state directory of their own and no adb."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from harness.cli import main
from harness.devices import commands, examination, look, places
from harness.devices.android.discovery import Found
from harness.devices.device_state import Condition, change, load
from harness.devices.lease import lease
from harness.devices.places import PlacesSettings, unusable
from harness.devices.recovery import Finding
from harness.errors import UserError
from harness.profiles import load_profiles
from results.store import Store

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = load_profiles()


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Pixel 7 with the serial A, and a results folder."""
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("getpass.getuser", lambda: "ana")
    android = PROFILES["pixel7"].android
    assert android is not None
    phone = Found("A", {key: patterns[0] for key, patterns in android.match.items()})

    async def phones(_: str | None) -> tuple[list[Found], dict[str, str]]:
        return [phone], {}

    monkeypatch.setattr(look, "_phones", phones)
    monkeypatch.setattr(look, "_blocked", lambda *_: {})
    Store.open(tmp_path / "tierlab-results").close()
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["devices", *words]) == code
    shown = capsys.readouterr()
    return shown.out + shown.err


def test_one_line_a_profile(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys).splitlines()
    assert [line[13:35].strip() for line in lines] == list(PROFILES)
    assert any(line.startswith("ready        pixel7 ") for line in lines)


def test_the_same_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "--json"))
    assert {profile["profile"] for profile in found["profiles"]} == set(PROFILES)
    pixel = next(p for p in found["profiles"] if p["profile"] == "pixel7")
    assert (pixel["usable"], pixel["devices"][0]["resource"]) == (True, "phone-A")


@pytest.mark.parametrize("name", ["pixel7", "phone-A", "A"])
def test_draining_and_back(capsys: pytest.CaptureFixture[str], name: str) -> None:
    shown = said(capsys, "drain", name, "--reason=new cable")
    assert shown == "phone-A is drained (new cable): no job begins on it\n"
    assert "drained      pixel7" in said(capsys)
    assert said(capsys, "drain", name) == "phone-A: nothing to change\n"
    assert said(capsys, "undrain", name) == "phone-A takes jobs again\n"
    assert load("phone-A").drained is None
    history = said(capsys, "history", name).splitlines()
    assert [line.partition("phone-A ")[2] for line in history] == [
        "is drained (new cable): no job begins on it (by ana)",
        "takes jobs again (by ana)",
    ]


def test_draining_lets_a_job_end(capsys: pytest.CaptureFixture[str]) -> None:
    with lease("phone-A", owner="run 7", wait_seconds=0):
        assert "; run 7 (process " in said(capsys, "drain", "A")
        assert "draining     pixel7" in said(capsys)
    assert "drained      pixel7" in said(capsys)


def test_a_drained_device_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_unusable_desktop", lambda _: None)
    said(capsys, "drain", "machine", "--reason=dust")
    assert unusable(PROFILES["desktop"], PlacesSettings(), withheld=False) is None
    assert unusable(PROFILES["desktop"], PlacesSettings()) == (
        "machine is drained by ana: dust\n  -> `tierlab devices undrain machine` gives it back"
    )


def test_maintenance(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "note", "phone-A", "swollen\x1b battery")
    assert shown == "phone-A: in maintenance: swollen\N{REPLACEMENT CHARACTER} battery\n"
    assert "maintenance  pixel7" in said(capsys)
    assert said(capsys, "note", "phone-A", "--clear") == "phone-A: its maintenance is over\n"
    assert "a note needs a text, or --clear" in said(capsys, "note", "phone-A", code=1)


def test_a_quarantine_is_ended(capsys: pytest.CaptureFixture[str]) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    ill = {"condition": Condition.QUARANTINED, "reason": "no answer", "until": until}
    change("phone-A", lambda state: state.model_copy(update=ill))
    assert "quarantined  pixel7" in said(capsys)
    assert "checks it first" in said(capsys, "release", "phone-A")
    assert load("phone-A").condition is Condition.UNHEALTHY
    assert said(capsys, "release", "phone-A") == "phone-A: nothing to change\n"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("pixl7", "no device is known by the name 'pixl7'\n  -> did you mean pixel7"),
        ("galaxy-a15", "no Samsung Galaxy A15 (4G) (galaxy-a15) is attached"),
        ("strix-halo", "strix-halo is a spec sheet only"),
    ],
)
def test_names_that_mean_nothing(capsys: pytest.CaptureFixture[str], name: str, why: str) -> None:
    assert why in said(capsys, "drain", name, code=1)


def test_without_results_there_is_no_history(capsys: pytest.CaptureFixture[str]) -> None:
    assert "(not in a history" in said(capsys, "drain", "A", "--results", "elsewhere")
    assert "there are no results here" in said(
        capsys, "history", "A", "--results", "elsewhere", code=1
    )
    assert "nothing is in the journal" in said(capsys, "history", "A")


# ---- checks ----


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the checks of this machine find."""
    found: list[Finding] = []

    async def check_up(*_: object, **__: object) -> Finding:
        return found.pop(0)

    monkeypatch.setattr(examination, "check_up", check_up)
    return found


def test_a_check_that_passes_and_one_that_fails(
    capsys: pytest.CaptureFixture[str], findings: list[Finding]
) -> None:
    change("machine", lambda s: s.model_copy(update={"condition": Condition.UNHEALTHY}))
    findings[:] = [Finding("it answers", passed=True), Finding("no browser")]
    assert load("machine").seen_at is None
    assert "machine: passed: it answers" in said(capsys, "check", "machine")
    assert load("machine").condition is Condition.READY
    seen = load("machine").seen_at  # a phone that was checked is missed when it is unplugged
    assert seen is not None
    assert "machine: failed: no browser" in said(capsys, "check", "machine", code=1)
    assert load("machine").condition is Condition.QUARANTINED
    assert load("machine").seen_at == seen
    assert "quarantined until" in said(capsys, "history", "machine")


def test_a_device_in_use_is_not_checked(
    capsys: pytest.CaptureFixture[str], findings: list[Finding]
) -> None:
    with lease("machine", owner="run 7", wait_seconds=0):
        assert "machine is in use by run 7 (process" in said(capsys, "check", "machine", code=1)
    assert findings == []


def test_recover_refuses_a_hook_that_is_no_program(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "recover", "machine", "--power-cycle=no-such-hub", code=1)
    assert "no-such-hub is no program on this machine" in told


def test_a_device_of_no_profile_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = look.gather([], PlacesSettings())
    with pytest.raises(UserError, match="of no profile that can be used here"):
        commands._profile_of("phone-B", facts)
    assert commands._serial_of("phone-192.168.1.2_5555", facts) == "192.168.1.2:5555"
    assert commands._serial_of("machine", facts) is None
    monkeypatch.undo()
