"""The small parts of a phone that need neither adb nor namespaces."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.emulation.phone import hardware, records
from harness.emulation.phone.command import Place
from harness.emulation.phone.isolation import OPEN, Way, ways
from harness.emulation.phone.peers import Peers, uid_of
from harness.emulation.phone.root import outermost, python_paths
from harness.emulation.phone.storage import Storage, used_bytes
from harness.emulation.phone.tools import host_paths
from harness.profiles import PROFILES_DIRECTORY, load_profile

PIXEL = load_profile(PROFILES_DIRECTORY / "pixel7.toml")

# As /proc/net/tcp shows it: a listener of root, what is left of another connection, then two sides
# of one.
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:13AD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0
   4: 0100007F:C35A 0100007F:2BCF 06 00000000:00000000 03:00000F00 00000000     0        0 0 3 0
   5: 0100007F:C35A 0100007F:13AD 06 00000000:00000000 03:00000F00 00000000     0        0 0 3 0
   1: 0100007F:C35A 0100007F:13AD 01 00000000:00000000 00:00000000 00000000  1000        0 12 1 0
   2: 0100007F:13AD 0100007F:C35A 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0
"""


def test_meminfo_is_the_profiles_and_keeps_its_length() -> None:
    idle, busy = hardware.meminfo(PIXEL, 0), hardware.meminfo(PIXEL, 1 << 30)
    rows = dict(line.split(":") for line in idle.splitlines())
    assert PIXEL.hardware.memory is not None
    assert int(rows["MemTotal"].split()[0]) << 10 == pytest.approx(
        0.925 * PIXEL.hardware.memory, rel=0.01
    )
    assert len(idle) == len(busy) == len(hardware.meminfo(PIXEL, 1 << 50))
    busy_rows = dict(line.split(":") for line in busy.splitlines())
    used = int(rows["MemAvailable"].split()[0]) - int(busy_rows["MemAvailable"].split()[0])
    assert used == 1 << 20


def test_cpuinfo_has_the_profiles_cores_or_the_hosts_where_those_are_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for host, shown in ((64, PIXEL.hardware.cores), (2, 2)):
        monkeypatch.setattr(os, "cpu_count", lambda host=host: host)
        assert hardware.cpuinfo(PIXEL).count("processor\t: ") == shown


def test_the_peers_user_is_found_by_its_own_side_of_the_connection() -> None:
    listener = ("127.0.0.1", 0x13AD)
    assert uid_of(TABLE, ("127.0.0.1", 0xC35A), listener) == 1000
    assert uid_of(TABLE, ("127.0.0.1", 0xC35A), ("127.0.0.1", 0x2BCF)) is None
    assert uid_of(TABLE, ("127.0.0.1", 1), listener) is None


@settings(deadline=None)
@given(st.text())
def test_no_table_raises(table: str) -> None:
    assert uid_of(table, ("127.0.0.1", 80), ("127.0.0.1", 81)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED, /proc/net/tcp is Linux's")
def test_a_connection_of_this_user_is_allowed() -> None:
    peers = Peers()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
        server.accept()[0] as accepted,
    ):
        assert peers.known
        assert peers.allowed(accepted)


def test_the_ways_are_tried_from_the_best_to_none() -> None:
    assert ways(root=False, host_pids=False) == [
        Way(user=True),
        Way(user=True, processes=False),
        OPEN,
    ]
    assert ways(root=True, host_pids=False)[0] == Way()
    assert all(not way.processes for way in ways(root=True, host_pids=True))


def test_paths_below_others_are_not_shown_twice() -> None:
    paths = [Path(name) for name in ("/b/c", "/a", "/b", "/bb", "/a", "/b/c/d")]
    assert outermost(paths) == [Path("/a"), Path("/b"), Path("/bb")]


def test_storage_counts_what_was_written_and_ends_what_is_over(tmp_path: Path) -> None:
    ended: list[bool] = []
    disk = 10 << 30
    storage = Storage(tmp_path, 1 << 20, lambda: ended.append(True), lambda _: disk)
    (tmp_path / "a/b").mkdir(parents=True)
    asyncio.run(storage.look())
    before = storage.free_bytes()
    assert 0 < before < 1 << 20
    disk -= 1000  # written since
    assert storage.free_bytes() == before - 1000
    with (tmp_path / "a/b/c").open("wb") as file:
        file.write(os.urandom(2 << 20))
        os.fsync(file.fileno())  # blocks are counted once they have a place on the disk
    assert used_bytes(tmp_path) >= 2 << 20
    asyncio.run(storage.look())
    assert storage.free_bytes() == 0
    assert ended == [True]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    return tmp_path / "state/phones"


def test_what_a_dead_phone_left_is_swept_and_a_living_one_is_not(
    tmp_path: Path, state: Path
) -> None:
    living = records.claim("living-1", tmp_path)
    dead = records.claim("dead-1", tmp_path)
    (dead.folder / "data").mkdir()
    (dead.folder / "data/file").write_text("x", "utf-8")
    (dead.folder / "data").chmod(0o500)
    left = subprocess.Popen(["sleep", "60"], env={records.MARK: "dead-1"})
    dead.lock.release()
    assert records.sweep() == ["dead-1"]
    assert not dead.folder.exists()
    assert left.wait(10) == -9
    assert living.folder.is_dir()
    living.release()
    assert list(state.iterdir()) == []


def test_a_note_that_names_another_folder_removes_nothing(tmp_path: Path, state: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    made = records.claim("dead-2", tmp_path)
    made.note.write_text(f'{{"folder": "{precious}"}}', "utf-8")
    made.lock.release()
    assert records.sweep() == ["dead-2"]
    assert precious.is_dir()
    assert not (state / "dead-2.json").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"folder": 3}', "\0"])
def test_a_note_that_cannot_be_read_is_forgotten(tmp_path: Path, state: Path, text: str) -> None:
    made = records.claim("dead-3", tmp_path)
    made.note.write_text(text, "utf-8")
    made.lock.release()
    records.sweep()
    assert list(state.glob("*.json")) == []


def test_python_in_the_phone_shows_no_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", ["", "/", str(tmp_path), str(Path.home()), *sys.path])
    shown = python_paths()
    assert not {Path("/"), tmp_path, Path.home()} & set(shown)
    assert Path(pytest.__file__).parents[1] in shown


@pytest.mark.parametrize(
    ("line", "translated"),
    [
        (
            "cat /data/x '/sdcard' >/data/local/tmp/y",
            "cat /r/data/x '/r/sdcard' >/r/data/local/tmp/y",
        ),
        ("ls /database /a/data ./data ~/data $x/data /data.bak", None),
        ("sh -c '/system/bin/sh'", "sh -c '/r/system/bin/sh'"),
        ("x=/storage/emulated/0/Download", "x=/r/storage/emulated/0/Download"),
    ],
)
def test_without_isolation_the_phones_paths_are_translated(
    line: str, translated: str | None
) -> None:
    assert host_paths("/r", line) == (translated or line)
    assert host_paths("/with space", line) == line


def test_a_place_keeps_what_was_translated_and_lets_nothing_out() -> None:
    place = Place(PIXEL, "x", Path("/r"), False, None, print)  # noqa: FBT003
    assert (
        place.path("/r/data/x")
        == place.path("/data/x")
        == place.path("data/x")
        == Path("/r/data/x")
    )
    for path in ("/../../etc", "//../etc", "../etc", "/r/../etc"):
        assert place.path(path) == Path("/r/etc")
    assert place.abstract("chrome") == "chrome.x"
    assert dataclasses.replace(place, root=Path("/")).path("/data/x") == Path("/data/x")
