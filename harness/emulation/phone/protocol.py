"""The adb transport protocol: packets, without any input or output.

Format: AOSP `packages/modules/adb/protocol.txt` and `adb.h`. A packet is six little-endian words
(command, two arguments, payload length, payload checksum, command with all bits flipped) and the
payload. Since version 0x01000001 nobody reads the checksum.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSION: Final = 0x01000001
#: From this version on payloads carry no checksum.
VERSION_SKIP_CHECKSUM: Final = 0x01000001
#: The largest payload that either side may send (`MAX_PAYLOAD`).
MAX_PAYLOAD: Final = 1 << 20
#: The first packet's limit, before the peers have told each other theirs (`MAX_PAYLOAD_V1`).
LEAST_PAYLOAD: Final = 4 << 10
HEADER_BYTES: Final = 24

#: What this daemon can do (`transport.cpp`); compression and delayed acknowledgement it cannot.
FEATURES: Final = (
    "shell_v2",
    "cmd",
    "stat_v2",
    "ls_v2",
    "fixed_push_mkdir",
    "fixed_push_symlink_timestamp",
    "sendrecv_v2",
)

_HEADER: Final = struct.Struct("<6I")
_FLIP: Final = 0xFFFFFFFF


class ProtocolError(Exception):
    """The peer does not speak this protocol; the transport must be closed."""


class Command(IntEnum):
    """A packet's first word: four letters, little-endian."""

    SYNC = 0x434E5953
    CNXN = 0x4E584E43
    AUTH = 0x48545541
    OPEN = 0x4E45504F
    OKAY = 0x59414B4F
    CLSE = 0x45534C43
    WRTE = 0x45545257
    STLS = 0x534C5453


#: `arg0` of AUTH: a random token to sign (from the device), the signature, a public key.
AUTH_TOKEN: Final = 1
AUTH_SIGNATURE: Final = 2
AUTH_PUBLIC_KEY: Final = 3
TOKEN_BYTES: Final = 20


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet; what the arguments mean depends on the command."""

    command: Command
    arg0: int = 0
    arg1: int = 0
    data: bytes = b""


def encode(packet: Packet, *, checksum: bool = False) -> bytes:
    """A packet's bytes; `checksum` for a peer older than `VERSION_SKIP_CHECKSUM`."""
    total = sum(packet.data) & _FLIP if checksum else 0
    command = packet.command
    header = _HEADER.pack(
        command, packet.arg0, packet.arg1, len(packet.data), total, command ^ _FLIP
    )
    return header + packet.data


class Decoder:
    """Bytes in pieces of any size -> packets. Holds at most one packet and one piece.

    After a `ProtocolError` it is of no further use.
    """

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self._max_payload = max_payload
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of a packet that is not complete."""
        return len(self._buffer)

    def feed(self, piece: bytes) -> Iterator[Packet]:
        """The packets that are complete with this piece; consume them all before the next one.

        Raises:
            ProtocolError: a magic, a command or a length that cannot be.
        """
        self._buffer += piece
        while len(self._buffer) >= HEADER_BYTES:
            word, arg0, arg1, length, _checksum, magic = _HEADER.unpack_from(self._buffer)
            command = self._check(word, length, magic)
            end = HEADER_BYTES + length
            if len(self._buffer) < end:
                return
            data = bytes(memoryview(self._buffer)[HEADER_BYTES:end])
            del self._buffer[:end]
            yield Packet(command, arg0, arg1, data)

    def _check(self, word: int, length: int, magic: int) -> Command:
        if magic != word ^ _FLIP:
            raise ProtocolError(f"magic {magic:#010x} does not belong to command {word:#010x}")
        if length > self._max_payload:
            raise ProtocolError(f"a payload of {length} bytes is over {self._max_payload}")
        try:
            return Command(word)
        except ValueError:
            raise ProtocolError(f"there is no command {word:#010x}") from None


def banner(properties: Mapping[str, str]) -> bytes:
    """What a device says of itself in its CNXN (`get_connection_string`)."""
    names = ("ro.product.name", "ro.product.model", "ro.product.device")
    told = [f"{name}={_plain(properties.get(name, ''))}" for name in names]
    return f"device::{';'.join(told)};features={','.join(FEATURES)}".encode()


def _plain(value: str) -> str:
    """A value without the banner's separators and without control characters."""
    return "".join(" " if mark in ";=,:" or not mark.isprintable() else mark for mark in value)


def service_name(data: bytes) -> str:
    """The service that an OPEN asks for; whatever the bytes, a text without zero bytes."""
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
