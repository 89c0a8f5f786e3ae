"""A phone is captured whole and clean, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.devices.android.failures import TransportLostError
from harness.emulation.capture import capture as module
from harness.emulation.capture.capture import Captured, capture, write
from harness.emulation.capture.dumps import read_dumps
from harness.emulation.capture.profile import as_sold, profile_id
from harness.errors import UserError
from harness.profile_check import problems
from harness.profiles import load_profile, load_profiles
from tests.harness.emulation.capture.phones import ANSWERS, PROPERTIES, SECRETS, table_phone

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.devices.android.phone import Phone

DAY = "2026-03-14"
GIB = 1 << 30
KNOWN = load_profiles()


def captured(phone: Phone | None = None, *, id_: str | None = None, known: bool = True) -> Captured:
    profiles = KNOWN.values() if known else ()
    return asyncio.run(capture(phone or table_phone(), profiles, day=DAY, id_=id_))


def everything(directory: Path) -> str:
    """All that stands in a directory: names and contents."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return "\n".join(f"{path.relative_to(directory)}\n{path.read_text()}" for path in files)


# ---- nothing personal is written ----


def test_no_secret_of_the_phone_reaches_the_disk(tmp_path: Path) -> None:
    write(captured(), tmp_path)
    written = everything(tmp_path).lower()
    assert [secret for secret in SECRETS if secret.lower() in written] == []


def test_what_was_taken_out_is_counted() -> None:
    removed = captured().removed
    assert {"serial", "app", "account", "number"} <= removed.keys()
    assert all(times > 0 for times in removed.values())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    command=st.sampled_from(sorted(ANSWERS)),
    line=st.text(max_size=40),
    secret=st.sampled_from(SECRETS),
)
def test_a_secret_planted_anywhere_is_found(
    command: str, line: str, secret: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    phone = table_phone({command: ANSWERS[command] + line + secret + line + "\n"})
    directory = tmp_path_factory.mktemp("captured")
    write(captured(phone, id_="planted"), directory)
    assert secret.lower() not in everything(directory).lower()


@pytest.mark.parametrize("seed", range(3))
def test_without_what_can_be_looked_up_forms_are_still_found(tmp_path: Path, seed: int) -> None:
    questions = [
        c for c in ANSWERS if c.startswith(("settings", "pm list u", "ip", "cmd", "cat /proc/sys"))
    ]
    phone = table_phone(dict.fromkeys(questions[seed::3]))
    write(captured(phone), tmp_path)
    written = everything(tmp_path).lower()
    formed = [s for s in SECRETS if any(c in s for c in "@:+") or s.isdecimal()]
    assert [secret for secret in formed if secret.lower() in written] == []


# ---- what is written ----


def test_the_profile_is_one_that_loads_and_is_sound(tmp_path: Path) -> None:
    path, _ = write(captured(known=False), tmp_path)
    profile = load_profile(path)
    assert profile.id == "google-pixel-7"
    assert problems(profile) == []
    assert profile.android
    assert profile.android.match == {"ro.product.device": ("panther",)}
    assert profile.hardware.cores == 8
    assert profile.hardware.memory == 8 * GIB
    assert profile.hardware.gpu == "Mali-G710"
    assert profile.screen
    assert (profile.screen.width, profile.screen.height, profile.screen.density) == (
        1080,
        2400,
        420,
    )


def test_a_profile_that_matches_keeps_its_id_and_what_no_phone_tells() -> None:
    before = KNOWN["pixel7"]
    after = captured().profile
    assert (after.id, after.name) == ("pixel7", before.name)
    assert after.hardware.soc == "Google Tensor G2"
    assert after.hardware.gpu == "Mali-G710 MP7"
    assert after.hardware.bandwidth_gb_s == before.hardware.bandwidth_gb_s
    assert any("bandwidth_gb_s: " in source for source in after.hardware.sources)
    assert problems(after) == []


def test_dumps_leave_open_what_the_state_decides(tmp_path: Path) -> None:
    _, directory = write(captured(), tmp_path)
    dumps = read_dumps(directory)
    battery = dumps["dumpsys battery"]
    assert battery.placeholders == {
        "battery.level", "battery.temperature", "battery.status", "battery.ac", "battery.usb",
        "battery.wireless",
    }  # fmt: skip
    filled = battery.render(dict.fromkeys(battery.placeholders, "50"))
    assert "  level: 50\n" in filled
    assert "  level: 86\n" in filled  # the manufacturer's own section
    thermal = dumps["dumpsys thermalservice"]
    assert "mValue={{thermal.skin}}, mType=3" in thermal.text
    assert "mValue=41.0, mType=0" in thermal.text
    assert not dumps["cat /proc/meminfo"].replay
    assert dumps["dumpsys battery"].replay


def test_of_long_dumps_only_what_the_harness_reads_is_kept(tmp_path: Path) -> None:
    _, directory = write(captured(), tmp_path)
    dumps = read_dumps(directory)
    assert dumps["dumpsys SurfaceFlinger"].text.startswith("GLES: ARM, Mali-G710,")
    assert len(dumps["dumpsys SurfaceFlinger"].text.splitlines()) == 1
    assert "Queries" not in dumps["dumpsys package com.android.chrome"].text


def test_a_command_that_does_not_end_is_told_and_left_out() -> None:
    result = captured(table_phone({"dumpsys thermalservice": None, "wm size": ""}))
    assert "did not end" in result.failed["dumpsys thermalservice"]
    assert "nothing that is kept" in result.failed["wm size"]
    assert {"dumpsys thermalservice", "wm size"}.isdisjoint(d.command for d in result.dumps)


def test_an_emulator_is_told_in_the_profile() -> None:
    result = captured(table_phone({"getprop": PROPERTIES + "[ro.tierlab.virtual]: [1]\n"}))
    assert result.emulated
    assert "virtual phone" in result.profile.notes
    assert "ro.tierlab.virtual" not in result.toml


# ---- all or nothing ----


@pytest.mark.parametrize("commands", [0, 3, 12, 25, 40])
def test_a_phone_that_is_lost_leaves_nothing(commands: int) -> None:
    with pytest.raises(TransportLostError):
        captured(table_phone(lost_after=commands))


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    first = captured()
    write(first, tmp_path)
    with pytest.raises(UserError, match="is there already") as raised:
        write(first, tmp_path)
    assert "--force" in str(raised.value)
    (tmp_path / "dumps" / "pixel7" / "old.txt").write_text("old")
    write(first, tmp_path, force=True)
    assert not (tmp_path / "dumps" / "pixel7" / "old.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dumps", "pixel7.toml"]


def test_an_interruption_leaves_no_half_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_dumps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(captured(), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list(tmp_path.glob(".capture-*")) == []


def test_a_full_or_forbidden_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write(captured(), tmp_path / "file")


# ---- a phone is untrusted ----


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(sorted(ANSWERS)), st.text(max_size=200), max_size=4))
def test_whatever_a_phone_says_gives_a_profile_or_an_explanation(
    answers: Mapping[str, str],
) -> None:
    with contextlib.suppress(UserError):
        result = captured(table_phone(answers), known=False)
        assert tomllib.loads(result.toml)["kind"] == "android"


@pytest.mark.parametrize("bad", ["../../etc/passwd", "A b", ".hidden", ""])
def test_an_id_that_is_no_id_is_refused(bad: str, tmp_path: Path) -> None:
    if bad:
        with pytest.raises(UserError, match="no valid profile"):
            captured(id_=bad)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("seen", "sold"), [(7.4, 8), (10.6, 12), (3.6, 4), (5.5, 6), (14.9, 16), (80, 80)]
)
def test_memory_as_sold_is_the_next_size_that_is_sold(seen: float, sold: int) -> None:
    assert as_sold(int(seen * GIB)) == sold * GIB


@given(st.text(max_size=100), st.text(max_size=100))
def test_an_id_is_made_of_whatever_a_phone_calls_itself(brand: str, model: str) -> None:
    made = profile_id({"ro.product.brand": brand, "ro.product.model": model})
    assert made
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not made.startswith("-")
