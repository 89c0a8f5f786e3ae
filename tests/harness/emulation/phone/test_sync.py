from __future__ import annotations

import asyncio
import os
import stat
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.emulation.phone.protocol import Command, Packet
from harness.emulation.phone.sync_messages import MAX_DATA
from tests.harness.emulation.phone.wire import make_phone, wired

if TYPE_CHECKING:
    import pytest

    from tests.harness.emulation.phone.wire import Host

WORD = st.integers(0, 0xFFFFFFFF)
NAMES = [b"STAT", b"STA2", b"LST2", b"LIST", b"LIS2", b"SEND", b"SND2", b"RECV", b"RCV2", b"DATA",
         b"DONE", b"QUIT", b"OKAY", b"\xff\xff\xff\xff"]  # fmt: skip


def request(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<4sI", name, len(data)) + data


def data_of(content: bytes) -> bytes:
    pieces = (content[i : i + MAX_DATA] for i in range(0, len(content), MAX_DATA))
    return b"".join(request(b"DATA", piece) for piece in pieces)


def sync(root: Path, sent: bytes, *, free_bytes: int = 1 << 30) -> bytes:
    """What the service says to these bytes and a QUIT."""

    async def ask() -> bytes:
        async with wired(make_phone(root, [], [], free_bytes=free_bytes)) as (host, _):
            await host.connect()
            return await host.ask("sync:", sent + request(b"QUIT"))

    return asyncio.run(ask())


def send(path: bytes, content: bytes, modified: int = 1_700_000_000) -> bytes:
    return request(b"SEND", path) + data_of(content) + struct.pack("<4sI", b"DONE", modified)


def failure(told: bytes) -> str:
    name, length = struct.unpack_from("<4sI", told)
    assert name == b"FAIL"
    assert len(told) == 8 + length
    return told[8:].decode()


def test_a_file_is_pushed_with_its_mode_and_time_and_comes_back(tmp_path: Path) -> None:
    content = os.urandom(3 * MAX_DATA + 17)
    told = sync(
        tmp_path, send(b"/data/new/file,33261", content) + request(b"RECV", b"/data/new/file")
    )
    pushed = tmp_path / "data/new/file"
    assert pushed.read_bytes() == content
    assert stat.S_IMODE(pushed.stat().st_mode) == 0o755
    assert pushed.stat().st_mtime == 1_700_000_000
    assert told == request(b"OKAY") + data_of(content) + request(b"DONE")


def test_version_2_of_send_and_receive(tmp_path: Path) -> None:
    setup = struct.pack("<4sII", b"SND2", 0o100644, 0)
    pushed = request(b"SND2", b"/f") + setup + data_of(b"abc") + struct.pack("<4sI", b"DONE", 5)
    pulled = request(b"RCV2", b"/f") + struct.pack("<4sI", b"RCV2", 0)
    assert sync(tmp_path, pushed + pulled) == request(b"OKAY") + data_of(b"abc") + request(b"DONE")
    brotli = request(b"RCV2", b"/f") + struct.pack("<4sI", b"RCV2", 1)
    assert "flags 0x1" in failure(sync(tmp_path, brotli))


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    setup = struct.pack("<4sII", b"SND2", 0o100644, 1 << 31)
    pushed = request(b"SND2", b"/f") + setup + data_of(b"abc") + struct.pack("<4sI", b"DONE", 5)
    assert sync(tmp_path, pushed) == request(b"OKAY")
    assert not (tmp_path / "f").exists()


def test_an_empty_file_and_a_link(tmp_path: Path) -> None:
    told = sync(tmp_path, send(b"/empty,33188", b"") + send(b"/link,41471", b"empty\0"))
    assert told == request(b"OKAY") * 2
    assert (tmp_path / "empty").read_bytes() == b""
    assert (tmp_path / "link").readlink() == Path("empty")


def test_what_a_link_points_to_is_not_overwritten_through_it(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept", "utf-8")
    (tmp_path / "link").symlink_to("kept")
    assert sync(tmp_path, send(b"/link,33188", b"new")) == request(b"OKAY")
    assert (tmp_path / "kept").read_text("utf-8") == "kept"
    assert (tmp_path / "link").read_bytes() == b"new"


def test_a_full_phone_says_so_and_the_next_request_is_answered(tmp_path: Path) -> None:
    told = sync(
        tmp_path, send(b"/f,33188", bytes(200_000)) + request(b"STAT", b"/f"), free_bytes=99
    )
    fail, state = told[:-16], told[-16:]
    assert failure(fail) == "couldn't create file: No space left on device"
    assert state == struct.pack("<4s3I", b"STAT", 0, 0, 0)


async def push_without_an_end(host: Host, opened: Packet) -> None:
    """As much of a file as is written at once."""
    begun = request(b"SEND", b"/f,33188") + data_of(bytes(16 * MAX_DATA))
    for start in range(0, len(begun), 1 << 20):
        piece = begun[start : start + (1 << 20)]
        await host.send(Packet(Command.WRTE, opened.arg1, opened.arg0, piece))
        await host.expect(Command.OKAY)


def test_a_push_that_is_cut_off_leaves_no_file(tmp_path: Path) -> None:
    async def check() -> None:
        async with wired(make_phone(tmp_path, [], [])) as (host, running):
            await host.connect()
            opened = await host.open("sync:")
            await push_without_an_end(host, opened)
            async with asyncio.timeout(10):
                while not (tmp_path / "f").exists():  # noqa: ASYNC110 - a thread writes it
                    await asyncio.sleep(0.01)
            host.writer.close()
            await running

    asyncio.run(check())
    assert list(tmp_path.iterdir()) == []


def test_a_push_that_is_cut_off_while_its_file_is_opened_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, go_on, open_file = threading.Event(), threading.Event(), Path.open

    def slowly(path: Path, *mode: Any, **more: Any) -> Any:
        file = open_file(path, *mode, **more)
        made.set()
        assert go_on.wait(10)
        return file

    async def check() -> None:
        async with wired(make_phone(tmp_path, [], [])) as (host, running):
            await host.connect()
            opened = await host.open("sync:")
            monkeypatch.setattr(Path, "open", slowly)
            await push_without_an_end(host, opened)
            assert await asyncio.to_thread(made.wait, 10)
            host.writer.close()
            asyncio.get_running_loop().call_later(0.1, go_on.set)
            await running

    asyncio.run(check())
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_fails_with_its_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        ("/no", "No such file"),
        ("/pipe", "not a regular file"),
        ("/", "regular"),
    ):
        assert reason in failure(sync(tmp_path, request(b"RECV", path.encode())))


def test_stat_and_list_in_both_versions(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    (tmp_path / "l").symlink_to("f")
    size = struct.calcsize("<4sIQQIIIIQqqq")
    assert sync(tmp_path, request(b"STAT", b"/f"))[8:12] == struct.pack("<I", 5)
    for name, path, kind in ((b"STA2", b"/l", stat.S_IFREG), (b"LST2", b"/l", stat.S_IFLNK)):
        fields = struct.unpack("<4sIQQIIIIQqqq", sync(tmp_path, request(name, path)))
        assert fields[:2] == (name, 0)
        assert stat.S_IFMT(fields[4]) == kind
    assert struct.unpack_from("<4sI", sync(tmp_path, request(b"STA2", b"/no"))) == (b"STA2", 2)

    listed = sync(tmp_path, request(b"LIST", b"/"))
    assert listed.endswith(b"DONE" + bytes(16))
    assert all(name in listed for name in (b"\x01\x00\x00\x00f", b"\x01\x00\x00\x00l"))
    listed = sync(tmp_path, request(b"LIS2", b"/"))
    assert listed.count(b"DNT2") == 4  # with . and ..
    assert listed.endswith(b"DONE" + bytes(size))


def test_a_folder_of_many_files_is_listed_whole(tmp_path: Path) -> None:
    for number in range(1500):
        (tmp_path / f"a-file-with-a-rather-long-name-{number:04}").touch()
    assert sync(tmp_path, request(b"LIST", b"/")).count(b"a-file-with") == 1500
    assert sync(tmp_path, request(b"LIS2", b"/")).count(b"a-file-with") == 1500


def test_paths_that_are_none_end_the_service(tmp_path: Path) -> None:
    assert failure(sync(tmp_path, request(b"STAT", b"a" * 1025))) == "path too long"
    assert failure(sync(tmp_path, request(b"STAT", b"a\0b"))) == "path with a zero byte"
    assert failure(sync(tmp_path, request(b"SEND", b"/f"))) == "missing ,MODE"
    assert sync(tmp_path, request(b"NOPE", b"")) == b""


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.one_of(
            st.builds(request, st.sampled_from(NAMES), st.binary(max_size=12)),
            st.builds(lambda n, w: struct.pack("<4sI", n, w), st.sampled_from(NAMES), WORD),
            st.binary(max_size=9),
        ),
        max_size=8,
    )
)
def test_whatever_is_sent_stays_below_the_root_and_ends(
    tmp_path: Path, pieces: list[bytes]
) -> None:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)

    async def ask() -> None:
        async with wired(make_phone(root, [], [])) as (host, _):
            await host.connect()
            opened = await host.open("sync:")
            sent = b"".join(pieces) or b"?"
            host.writer.write(struct.pack(
                "<4s5I", b"WRTE", opened.arg1, opened.arg0, len(sent), 0,
                int.from_bytes(b"WRTE", "little") ^ 0xFFFFFFFF,
            ) + sent)  # fmt: skip
            host.writer.write_eof()
            while await host.receive() is not None:
                pass

    asyncio.run(ask())
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
