from __future__ import annotations

import asyncio
import struct
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.devices.android import shell
from harness.devices.android.failures import TransportLostError
from harness.devices.android.wire import Stream

TOKEN = "tierlab-0123"  # noqa: S105 - it opens nothing


class _Writer:
    """A stream that is only read needs no other side."""


def stream_of(data: bytes) -> Stream:
    reader = asyncio.StreamReader(limit=1 << 20)
    reader.feed_data(data)
    reader.feed_eof()
    return Stream(reader, _Writer())  # type: ignore[arg-type]


def packet(kind: int, data: bytes) -> bytes:
    return struct.pack("<BI", kind, len(data)) + data


def finished(data: bytes, *, protocol: bool = True) -> shell.Finished:
    async def read() -> shell.Finished:
        return await shell.finish(stream_of(data), TOKEN, protocol=protocol)

    return asyncio.run(read())


def lines(data: bytes, *, protocol: bool = True) -> list[tuple[str, int]]:
    async def read() -> list[tuple[str, int]]:
        return [found async for found in shell.lines(stream_of(data), TOKEN, protocol=protocol)]

    return asyncio.run(read())


@pytest.mark.parametrize(
    ("command", "output", "code"),
    [
        ("echo hello", b"hello\n", 0),
        ("printf 'no end of line'", b"no end of line", 0),
        ("exit 7", b"", 7),
        ("echo 'it''s'; false", b"its\n", 1),
        ("cat", b"", 0),  # it gets no input, and so it ends
        ("echo a # a remark", b"a\n", 0),
        ("cat <<X\nfrom here\nX", b"from here\n", 0),
    ],
)
def test_any_command_gets_its_sentinel(command: str, output: bytes, code: int) -> None:
    line = shell.with_sentinel(command, TOKEN)
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False, timeout=10)
    assert shell.split_sentinel(done.stdout, TOKEN) == (output, code)


def test_a_syntax_error_is_the_command_s_own() -> None:
    line = shell.with_sentinel("echo 'never closed", TOKEN)
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False, timeout=10)
    # Some shells end at it, some only the command: in both cases it is no success.
    assert (shell.split_sentinel(done.stdout, TOKEN) or (b"", done.returncode))[1] != 0
    assert done.stderr


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_words_reach_a_command_as_they_are(words: list[str]) -> None:
    line = shell.with_sentinel(shell.command_line(["printf", "<%s>", *words]), TOKEN)
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False, timeout=10)
    found = shell.split_sentinel(done.stdout, TOKEN)
    assert found == ("".join(f"<{word}>" for word in words or [""]).encode(), 0)


@settings(deadline=None)
@given(st.binary(), st.integers(0, 255), st.sampled_from([b"\n", b"\r\n"]))
def test_output_and_code_are_split_again(output: bytes, code: int, end: bytes) -> None:
    said = output + f"{TOKEN}:{code}".encode() + end
    assert shell.split_sentinel(said, TOKEN) == (output, code)


@settings(deadline=None)
@given(st.binary())
def test_output_without_its_sentinel_is_none(output: bytes) -> None:
    assert shell.split_sentinel(output, TOKEN) is None


def test_both_streams_and_the_code() -> None:
    data = (
        packet(1, b"out") + packet(2, b"err") + packet(1, b"\ntierlab-0123:3\n") + packet(3, b"\0")
    )
    assert finished(data) == shell.Finished(b"out\n", b"err", 3)
    assert finished(b"out\ntierlab-0123:3\n", protocol=False) == shell.Finished(b"out\n", b"", 3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        packet(1, b"half of the out"),
        packet(1, b"whole")[:-2],
        packet(3, b"\0"),  # adb's word for success, without the command's own
        packet(1, b"x tierlab-0123:0"),
        b"\x01\xff\xff\xff\xff",
    ],
)
def test_a_lost_transport_is_never_an_empty_success(data: bytes) -> None:
    with pytest.raises(TransportLostError):
        finished(data)
    with pytest.raises(TransportLostError):
        lines(data)


def test_a_shell_that_is_killed_is_no_lost_transport() -> None:
    assert finished(packet(1, b"so far") + packet(3, b"\x89")) == shell.Finished(
        b"so far", b"", 137
    )
    assert lines(packet(1, b"so far\n") + packet(3, b"\x89")) == [("so far", -1), ("", 137)]


@settings(deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_a_lost_transport(data: bytes, protocol: bool) -> None:
    try:
        done = finished(data, protocol=protocol)
    except TransportLostError:
        return
    assert done.exit_code  # a phone may only be so lucky as to spell a failure


def test_lines_come_whole_whatever_the_pieces() -> None:
    text = "first\nsecond ü\r\n\nlast without an end"
    data = text.encode() + b"tierlab-0123:0\n"
    expected = [("first", -1), ("second ü", -1), ("", -1), ("last without an end", -1), ("", 0)]
    assert lines(data, protocol=False) == expected
    assert lines(b"".join(packet(1, data[i : i + 1]) for i in range(len(data)))) == expected


def test_a_line_without_an_end_is_cut() -> None:
    data = b"x" * (shell.LONGEST_LINE + 1) + b"\ntierlab-0123:0\n"
    found = [text for text, _ in lines(data, protocol=False)]
    assert [len(text) for text in found] == [shell.LONGEST_LINE, 1, 0]
