"""`tierlab profile` from the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, ClassVar

import pytest

from harness.devices.android.adb import Attached
from harness.emulation import commands
from harness.emulation.capture.dumps import INDEX, read_dumps
from harness.errors import UserError
from harness.profiles import PROFILES_DIRECTORY, load_profile
from tests.harness.emulation.capture.phones import SECRETS, SERIAL, table_phone

if TYPE_CHECKING:
    from pathlib import Path

    from harness.devices.android.phone import Phone


class OneServer:
    """An adb server with one phone on it."""

    state: ClassVar[str | None] = "device"
    lost_after: ClassVar[int | None] = None

    def __init__(self, port: int | None = None) -> None:
        self.port = port or 5037
        self.connected: list[str] = []

    async def ensure_server(self) -> None: ...

    async def attached(self) -> list[Attached]:
        return [Attached("R5CT1234567", "device")]

    async def state_of(self, serial: str) -> str | None:
        return self.state if serial == SERIAL or serial in self.connected else None

    async def connect(self, address: str) -> None:
        self.connected.append(address)

    def phone(self, _serial: str) -> Phone:
        return table_phone(lost_after=self.lost_after)


@pytest.fixture(autouse=True)
def one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "Adb", OneServer)
    monkeypatch.setattr(OneServer, "state", "device")
    monkeypatch.setattr(OneServer, "lost_after", None)


def tierlab(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    commands.add_commands(parser.add_subparsers(required=True))
    options = parser.parse_args(["profile", *map(str, words)])
    code: int = options.func(options)
    return code


# ---- capture ----


def test_a_capture_is_written_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tierlab("capture", SERIAL, "--id", "mine", "--out", tmp_path) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [str(tmp_path / "mine.toml"), str(tmp_path / "dumps" / "mine")]
    assert "read the files" in said.err
    assert "account" in said.err
    assert not [secret for secret in SECRETS if secret in said.err + said.out]
    assert load_profile(tmp_path / "mine.toml").kind == "android"
    assert "dumpsys battery" in read_dumps(tmp_path / "dumps" / "mine")


def test_what_is_there_is_refused_before_the_phone_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text("mine")
    monkeypatch.setattr(OneServer, "lost_after", 0)
    with pytest.raises(UserError, match="is there already"):
        tierlab("capture", SERIAL, "--id", "mine", "--out", tmp_path)
    assert (tmp_path / "mine.toml").read_text() == "mine"


def test_an_address_is_connected_to(tmp_path: Path) -> None:
    assert tierlab("capture", "192.168.1.7:5555", "--out", tmp_path) == 0


def test_a_phone_that_adb_does_not_see_is_told_with_those_it_sees(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sees no phone 'XYZ'; it sees: R5CT1234567"):
        tierlab("capture", "XYZ", "--out", tmp_path)


def test_a_phone_that_is_not_ready_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OneServer, "state", "unauthorized")
    with pytest.raises(UserError, match="unauthorized") as raised:
        tierlab("capture", SERIAL, "--out", tmp_path)
    assert raised.value.next_step


@pytest.mark.parametrize("asked", [0, 5, 20, 35])
def test_a_phone_that_is_unplugged_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    monkeypatch.setattr(OneServer, "lost_after", asked)
    with pytest.raises(UserError, match="nothing was written"):
        tierlab("capture", SERIAL, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_word_for_the_phones_shell_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no name of a package"):
        tierlab("capture", SERIAL, "--package", "a.b; reboot", "--out", tmp_path)


# ---- show, check ----


def test_a_profile_is_shown_with_its_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert tierlab("show", "pixel7") == 0
    shown = capsys.readouterr().out
    profile = load_profile(PROFILES_DIRECTORY / "pixel7.toml")
    assert all(f"source: {source}" in shown for source in profile.hardware.sources)
    assert "420 dpi (unverified)" in shown
    assert "ro.product.device = panther" in shown


def test_all_that_ship_are_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert tierlab("check") == 0
    assert "all sound" in capsys.readouterr().out


def test_problems_are_told_and_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (PROFILES_DIRECTORY / "pixel7.toml").read_text()
    (tmp_path / "pixel7.toml").write_text(text)
    other = text.replace('"pixel7"', '"other"').replace("cores = 8", "cores = 99")
    (tmp_path / "other.toml").write_text(other)
    (tmp_path / "dumps" / "other").mkdir(parents=True)
    (tmp_path / "dumps" / "other" / INDEX).write_text("schema = 9")
    assert tierlab("check", "--profiles", tmp_path) == 1
    said = capsys.readouterr().err
    assert "other: hardware.cores: 99 is not plausible" in said
    assert "pixel7: android.match: a phone as other describes it matches this one too" in said
    assert "schema is 9" in said
