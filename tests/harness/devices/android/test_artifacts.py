from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import pytest

from harness.devices.android.adb import CommandError, CommandTimeoutError, TransportLostError
from harness.devices.android.artifacts import bugreport, screenshot
from harness.errors import UserError
from tests.harness.devices.android.server import SERIAL, FakeServer, play

if TYPE_CHECKING:
    from pathlib import Path

    from harness.devices.android.adb import Adb


def png() -> bytes:
    """One black pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        (b"", b"", True),
        (b"[Warning] Multiple displays were found\n", b"", True),
        (b"", None, False),
    ],
)
def test_a_screenshot_is_whole_or_none(
    tmp_path: Path, before: bytes, after: bytes | None, *, taken: bool
) -> None:
    shown = before + png()
    (tmp_path / "shown").write_bytes(shown if after is not None else shown[:-3])
    path = tmp_path / "picture.png"

    async def body(fake: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        assert await screenshot(phone, path) is taken
        if taken:
            with pytest.raises(UserError, match="cannot be written"):
                await screenshot(phone, tmp_path / "none" / "picture.png")
        fake.unplug()
        assert await screenshot(phone, tmp_path / "other.png") is False

    play(tmp_path, body, prelude="screencap() { cat shown; }")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["picture.png", "shown"][not taken :]
    if taken:
        assert path.read_bytes() == png()


BUGREPORTZ = """bugreportz() {
  echo BEGIN:/bugreports/bugreport-x.zip.tmp
  echo PROGRESS:25/100; echo PROGRESS:100/100
  echo "$LAST"
}
"""


def test_a_bug_report_comes_and_leaves_the_phone(tmp_path: Path) -> None:
    remote = tmp_path / "bugreports" / "bugreport-x.zip"
    remote.parent.mkdir()
    remote.write_bytes(b"PK report")
    told: list[tuple[int, int]] = []

    async def body(fake: FakeServer, adb: Adb) -> None:
        fake.prelude = (
            BUGREPORTZ + 'LAST=OK:/bugreports/bugreport-x.zip\nrm() { command rm "$1" ".$2"; }'
        )
        path = tmp_path / "report.zip"
        await bugreport(adb.phone(SERIAL), path, lambda done, of: told.append((done, of)))
        assert path.read_bytes() == b"PK report"

    play(tmp_path, body)
    assert not remote.exists()
    assert told == [(25, 100), (100, 100)]


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ("FAIL:Failed to take bugreport", "it said: FAIL:Failed to take bugreport"),
        ("OK:../../etc/passwd", "it said: OK:"),
        ("OK:/bugreports/gone.zip", "no such file"),
    ],
)
def test_a_phone_that_has_no_bug_report_to_give(tmp_path: Path, last: str, reason: str) -> None:
    async def body(_: FakeServer, adb: Adb) -> None:
        with pytest.raises(CommandError, match=reason):
            await bugreport(adb.phone(SERIAL), tmp_path / "report.zip")

    play(tmp_path, body, prelude=BUGREPORTZ + f"LAST={last!r}")
    assert list(tmp_path.iterdir()) == []


def test_a_bug_report_that_never_ends_or_breaks_off(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        with pytest.raises(CommandTimeoutError):
            await bugreport(phone, tmp_path / "report.zip", within=0.3)
        with pytest.raises(TransportLostError):
            await bugreport(phone, tmp_path / "report.zip", lambda _done, _of: fake.unplug())

    play(tmp_path, body, prelude="bugreportz() { sleep 1; echo PROGRESS:1/2; sleep 20; }")
