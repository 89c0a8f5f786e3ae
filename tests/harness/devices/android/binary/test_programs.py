from __future__ import annotations

import contextlib
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.android.binary.programs import (
    Program,
    abis,
    read_program,
    refuse_foreign,
)
from harness.errors import UserError

ARM64, ARM, X86_64 = (183, 64), (40, 32), (62, 64)


def elf(
    *,
    machine: int = 183,
    bits: int = 64,
    kind: int = 3,
    interpreter: str | None = None,
    needs: tuple[str, ...] = (),
    alignment: int = 4096,
) -> bytes:
    """A program's headers, built from the format's own description."""
    wide = bits == 64
    header, entry = (64, 56) if wide else (52, 32)
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in needs)
    offsets = [1 + sum(len(n) + 1 for n in needs[:i]) for i in range(len(needs))]
    base = 0x1000
    dynamic = [(1, offset) for offset in offsets] + [(5, base + 0x800), (0, 0)]
    table = b"".join(struct.pack("<qQ" if wide else "<iI", *pair) for pair in dynamic)
    said = (interpreter or "").encode() + b"\0"
    content = bytearray(0x1000)
    content[0x400 : 0x400 + len(said)] = said
    content[0x600 : 0x600 + len(table)] = table
    content[0x800 : 0x800 + len(strings)] = strings
    segments = [(1, 0, base, 0x1000, alignment)]
    segments += [(3, 0x400, base + 0x400, len(said), 1)] if interpreter else []
    segments += [(2, 0x600, base + 0x600, len(table), 8)] if needs else []
    for number, (tag, offset, address, size, align) in enumerate(segments):
        packed = (
            struct.pack("<IIQQQQQQ", tag, 5, offset, address, address, size, size, align)
            if wide
            else struct.pack("<IIIIIIII", tag, offset, address, address, size, size, 5, align)
        )
        start = header + number * entry
        content[start : start + entry] = packed
    content[:16] = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    struct.pack_into("<HHI", content, 16, kind, machine, 1)
    if wide:
        struct.pack_into(
            "<QQQIHHHHHH", content, 24, 0, header, 0, 0, header, entry, len(segments), 0, 0, 0
        )
    else:
        struct.pack_into(
            "<IIIIHHHHHH", content, 24, 0, header, 0, 0, header, entry, len(segments), 0, 0, 0
        )
    return bytes(content)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "llama-bench"
    path.write_bytes(content)
    return path


def test_a_static_program(tmp_path: Path) -> None:
    found = read_program(write(tmp_path, elf()))
    assert found == Program(machine=ARM64, alignment=4096)
    assert found.linked == "statically linked"


def test_a_dynamic_program_says_its_linker_and_libraries(tmp_path: Path) -> None:
    for bits, machine in ((64, ARM64), (32, ARM)):
        content = elf(
            machine=machine[0],
            bits=bits,
            interpreter="/system/bin/linker64",
            needs=("libc.so", "x.so"),
        )
        found = read_program(write(tmp_path, content))
        assert found == Program(machine, "/system/bin/linker64", ("libc.so", "x.so"), 4096)
        assert found.linked == "dynamically linked"


@pytest.mark.skipif(sys.platform != "linux", reason="its programs are no ELF files")
def test_a_program_of_this_machine() -> None:
    found = read_program(Path(sys.executable).resolve())
    assert found.machine is not None
    assert found.interpreter
    assert any(name.startswith("libc.so") for name in found.needs)


def test_a_script_of_the_shell(tmp_path: Path) -> None:
    found = read_program(write(tmp_path, b"#!/system/bin/sh -e\nexec ./x\n"))
    assert (found.machine, found.linked) == (None, "a shell script")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "does not begin as one"),
        (b"MZ" + bytes(100), "does not begin as one"),
        (b"#!/usr/bin/python3\n", "a script of /usr/bin/python3"),
        (b"#!\n", "a script of nothing"),
        (elf()[:40], "ELF header"),
        (elf(kind=1), "an object file"),
        (elf()[:70], "ends within its headers"),
        (elf()[:54] + b"\0\0" + elf()[56:], "program headers"),
    ],
)
def test_what_is_no_program_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_program(write(tmp_path, content))


@given(
    st.binary(max_size=300),
    st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=8),
)
def test_no_file_makes_it_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, edits: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    damaged = bytearray(elf(interpreter="/system/bin/linker64", needs=("libc.so",)))
    for place, value in edits:
        damaged[place] = value
    for content in (bytes(damaged), b"\x7fELF" + tail):
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            assert isinstance(read_program(path), Program)


def refuse(program: Program, machine: str = "aarch64", **more: Any) -> None:
    refuse_foreign(Path("llama-bench"), program, machine=machine, **more)


def test_a_program_for_the_phone_is_taken() -> None:
    refuse(Program(ARM64))
    refuse(
        Program(ARM64, "/system/bin/linker64", ("libc.so", "libm.so", "libomp.so")),
        libraries=["libomp.so"],
    )
    refuse(Program(ARM), abis=["armeabi-v7a"])
    refuse(Program(X86_64), machine="x86_64")
    refuse(Program(ARM64, alignment=16384), page_bytes=16384)
    refuse(Program(None))
    refuse(Program(ARM64), machine="a machine of tomorrow")


@pytest.mark.parametrize(
    ("program", "more", "words"),
    [
        (Program(X86_64), {}, "built for x86-64, and the phone runs arm64"),
        (Program(ARM), {}, "built for 32-bit ARM"),
        (Program((8, 32)), {}, "built for ELF machine 8"),
        (Program(ARM64, "/lib/ld-linux-aarch64.so.1", ("libc.so.6",)), {}, "not Android's linker"),
        (Program(ARM64, "/system/bin/linker64", ("libllama.so",)), {}, "needs libllama.so"),
        (Program(ARM64, alignment=4096), {"page_bytes": 16384}, "pages of 4096 bytes"),
    ],
)
def test_a_program_of_another_machine_is_refused(
    program: Program, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        refuse(program, **more)


def test_other_architectures_count_only_where_they_are_translated() -> None:
    lists = {
        "ro.product.cpu.abilist": "x86_64,arm64-v8a",
        "ro.product.cpu.abilist32": "armeabi-v7a, armeabi",
    }
    assert abis(lists) == ("armeabi-v7a", "armeabi")
    assert abis({**lists, "ro.dalvik.vm.native.bridge": "0"}) == ("armeabi-v7a", "armeabi")
    bridge = {**lists, "ro.dalvik.vm.native.bridge": "libndk_translation.so"}
    assert abis(bridge) == ("x86_64", "arm64-v8a")
    assert abis({}) == ()
