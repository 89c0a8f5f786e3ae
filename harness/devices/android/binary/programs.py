"""What a user's program is, told from its file, and whether a phone can run it.

Formats: System V ABI, ELF (gABI chapters 4 and 5: header, program headers, dynamic section);
Android's dynamic linker is `/system/bin/linker64` (AOSP bionic/linker). Files are untrusted: every
offset is checked before it is used.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

#: `uname -m` of a phone, and names of ABIs, as ELF has it: the machine and the bits of an address.
MACHINES: Final = {
    "aarch64": (183, 64),
    "arm64-v8a": (183, 64),
    "armeabi-v7a": (40, 32),
    "armv7l": (40, 32),
    "armv8l": (40, 32),
    "i686": (3, 32),
    "riscv64": (243, 64),
    "x86": (3, 32),
    "x86_64": (62, 64),
}
_NAMES: Final = {
    (183, 64): "arm64",
    (40, 32): "32-bit ARM",
    (3, 32): "32-bit x86",
    (62, 64): "x86-64",
    (243, 64): "RISC-V 64",
}
_LINKERS: Final = ("/system/bin/linker", "/apex/com.android.runtime/bin/linker")
#: Libraries that Android gives every program (developer.android.com/ndk/guides/stable_apis).
SYSTEM_LIBRARIES: Final = frozenset(
    {
        "ld-android.so",
        "libEGL.so",
        "libGLESv1_CM.so",
        "libGLESv2.so",
        "libGLESv3.so",
        "libaaudio.so",
        "libamidi.so",
        "libandroid.so",
        "libbinder_ndk.so",
        "libc.so",
        "libcamera2ndk.so",
        "libdl.so",
        "libicu.so",
        "libjnigraphics.so",
        "liblog.so",
        "libm.so",
        "libmediandk.so",
        "libnativehelper.so",
        "libnativewindow.so",
        "libneuralnetworks.so",
        "libstdc++.so",
        "libsync.so",
        "libvulkan.so",
        "libz.so",
    }
)
_SHELLS: Final = ("/system/bin/sh", "/bin/sh")
_EXECUTABLES: Final = (2, 3)  # ET_EXEC, and ET_DYN for those that may lie anywhere
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRING_TABLE = 1, 5
_MOST_HEADERS: Final = 256
_MOST_DYNAMIC: Final = 4096
_MOST_TEXT: Final = 4096


@dataclass(frozen=True, slots=True)
class Program:
    """A program as its file says.

    Attributes:
        machine: ELF's `e_machine` and the bits of an address; None for a script of the shell.
        interpreter: The dynamic linker that it asks for; None: it is linked statically.
        needs: The libraries that it loads.
        alignment: The smallest alignment of what is loaded, in bytes: pages may not be larger.
    """

    machine: tuple[int, int] | None
    interpreter: str | None = None
    needs: tuple[str, ...] = ()
    alignment: int | None = None

    @property
    def linked(self) -> str:
        """How it is linked, in words."""
        if self.machine is None:
            return "a shell script"
        return "dynamically linked" if self.interpreter or self.needs else "statically linked"


class _NotElfError(Exception):
    """The file is no program, and why."""


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int
    alignment: int


def read_program(path: Path) -> Program:
    """What the file is.

    Raises:
        UserError: it cannot be read, or is neither an ELF program nor a script of Android's shell.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
            if start.startswith(b"#!"):
                return _script(start)
            return _elf(file, start)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except _NotElfError as error:
        raise UserError(
            f"{path} is no program for a phone: {error}",
            "give an executable that was built for Android, such as llama.cpp's llama-bench",
        ) from error


def refuse_foreign(
    path: Path,
    program: Program,
    *,
    machine: str,
    abis: Collection[str] = (),
    page_bytes: int | None = None,
    libraries: Collection[str] = (),
) -> None:
    """Raise for a program that the phone cannot run, before anything is pushed.

    Args:
        path: of the program.
        program: what it is.
        machine: `uname -m` of the phone.
        abis: further ABIs that the phone runs, such as `armeabi-v7a`.
        page_bytes: of the phone's memory.
        libraries: names of the files that are pushed beside it.

    Raises:
        UserError: another machine, another system's linker, a library that is missing, or pages
            that are larger than the program is aligned for.
    """
    if program.machine is None:
        return
    runs = {MACHINES[name] for name in (machine, *abis) if name in MACHINES}
    if runs and program.machine not in runs:
        raise UserError(
            f"{path} is built for {_name(program.machine)}, and the phone runs"
            f" {', '.join(sorted(map(_name, runs)))}",
            "build it for the phone, e.g. with the NDK's toolchain file and ANDROID_ABI=arm64-v8a",
        )
    if program.interpreter and not program.interpreter.startswith(_LINKERS):
        raise UserError(
            f"{path} asks for {program.interpreter}, which is not Android's linker",
            "link it statically (-static), or build it with the Android NDK",
        )
    missing = [name for name in program.needs if name not in SYSTEM_LIBRARIES | set(libraries)]
    if missing:
        raise UserError(
            f"{path} needs {', '.join(missing)}, which Android does not have",
            "link it statically, or give each with --binary-library",
        )
    if page_bytes and program.alignment and program.alignment < page_bytes:
        raise UserError(
            f"{path} is aligned for pages of {program.alignment} bytes,"
            f" and the phone's have {page_bytes}",
            "link it with -Wl,-z,max-page-size=16384",
        )


def _name(machine: tuple[int, int]) -> str:
    return _NAMES.get(machine, f"ELF machine {machine[0]}")


def _script(start: bytes) -> Program:
    words = start[2:].split(b"\n")[0].decode(errors="replace").split()
    if not words or words[0] not in _SHELLS:
        raise _NotElfError(f"it is a script of {words[0] if words else 'nothing'}")
    return Program(machine=None)


def _elf(file: BinaryIO, head: bytes) -> Program:
    if head[:4] != b"\x7fELF":
        raise _NotElfError("it does not begin as one (\\x7fELF)")
    if len(head) < 64 or head[4] not in {1, 2} or head[5] != 1:  # noqa: PLR2004 - size of a header
        raise _NotElfError("its ELF header is none of a little-endian program")
    bits = 64 if head[4] == 2 else 32  # noqa: PLR2004 - ELFCLASS64
    kind, machine = struct.unpack_from("<HH", head, 16)
    if kind not in _EXECUTABLES:
        raise _NotElfError("it is an object file or a core dump")
    segments = _segments(file, head, bits)
    interpreter = next((_text(file, s) for s in segments if s.kind == _INTERPRETER), None)
    loads = [s.alignment for s in segments if s.kind == _LOAD and s.alignment > 1]
    if not loads:
        raise _NotElfError("it loads nothing")
    return Program(
        machine=(machine, bits),
        interpreter=interpreter,
        needs=_needs(file, segments, bits),
        alignment=min(loads),
    )


def _segments(file: BinaryIO, head: bytes, bits: int) -> list[_Segment]:
    """The program headers."""
    if bits == 64:  # noqa: PLR2004
        offset, size, count = (
            *struct.unpack_from("<Q", head, 32),
            *struct.unpack_from("<HH", head, 54),
        )
        form, order = "<IIQQQQQQ", (0, 2, 3, 5, 7)
    else:
        offset, size, count = (
            *struct.unpack_from("<I", head, 28),
            *struct.unpack_from("<HH", head, 42),
        )
        form, order = "<IIIIIIII", (0, 1, 2, 4, 7)
    if size < struct.calcsize(form) or count > _MOST_HEADERS:
        raise _NotElfError("its program headers are none")
    found = []
    for number in range(count):
        values = struct.unpack(form, _at(file, offset + number * size, struct.calcsize(form)))
        found.append(_Segment(*(values[index] for index in order)))
    return found


def _needs(file: BinaryIO, segments: list[_Segment], bits: int) -> tuple[str, ...]:
    """DT_NEEDED: names in the string table, whose address is told by DT_STRTAB."""
    dynamic = next((s for s in segments if s.kind == _DYNAMIC), None)
    if dynamic is None:
        return ()
    form = "<qQ" if bits == 64 else "<iI"  # noqa: PLR2004
    width = struct.calcsize(form)
    count = min(dynamic.size // width, _MOST_DYNAMIC)
    entries = [
        struct.unpack(form, _at(file, dynamic.offset + number * width, width))
        for number in range(count)
    ]
    table = next((value for tag, value in entries if tag == _STRING_TABLE), None)
    names = [value for tag, value in entries if tag == _NEEDED]
    base = _offset_of(segments, table) if table is not None else None
    if base is None:
        return ()
    return tuple(_zero_ended(file, base + name) for name in names)


def _offset_of(segments: list[_Segment], address: int) -> int | None:
    """Where in the file an address of memory is."""
    for segment in segments:
        if segment.kind == _LOAD and segment.address <= address < segment.address + segment.size:
            return segment.offset + address - segment.address
    return None


def _text(file: BinaryIO, segment: _Segment) -> str:
    if segment.size > _MOST_TEXT:
        raise _NotElfError("its interpreter has no name")
    return _at(file, segment.offset, segment.size).split(b"\0")[0].decode(errors="replace")


def _zero_ended(file: BinaryIO, offset: int) -> str:
    _seek(file, offset)
    return file.read(_MOST_TEXT).split(b"\0")[0].decode(errors="replace")


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    _seek(file, offset)
    data = file.read(size)
    if len(data) != size:
        raise _NotElfError("it ends within its headers")
    return data


def _seek(file: BinaryIO, offset: int) -> None:
    if offset >= 1 << 62:
        raise _NotElfError("it points beyond its end")
    file.seek(offset)


def abis(properties: Mapping[str, str]) -> tuple[str, ...]:
    """The ABIs that a phone runs beside its own.

    32-bit ones where it says so; those of another architecture only where it translates them
    (`ro.dalvik.vm.native.bridge`, AOSP art/runtime/native_bridge_art_interface.cc).
    """
    translates = properties.get("ro.dalvik.vm.native.bridge", "0") not in {"", "0"}
    key = "ro.product.cpu.abilist" if translates else "ro.product.cpu.abilist32"
    return tuple(word.strip() for word in properties.get(key, "").split(",") if word.strip())
