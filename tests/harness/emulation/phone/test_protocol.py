from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.emulation.phone.protocol import (
    HEADER_BYTES,
    MAX_PAYLOAD,
    Command,
    Decoder,
    Packet,
    ProtocolError,
    banner,
    encode,
    service_name,
)

WORDS = st.integers(0, 0xFFFFFFFF)
PACKETS = st.builds(Packet, st.sampled_from(Command), WORDS, WORDS, st.binary(max_size=200))


def decode(data: bytes, cuts: list[int], max_payload: int = MAX_PAYLOAD) -> list[Packet]:
    decoder = Decoder(max_payload)
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    packets: list[Packet] = []
    start = 0
    for end in ends:
        packets += decoder.feed(data[start:end])
        start = end
    return packets


def test_the_bytes_of_a_packet_are_those_of_protocol_txt() -> None:
    packet = encode(Packet(Command.OPEN, 1, 0, b"shell:\0"), checksum=True)
    total = sum(b"shell:\0")
    assert packet == struct.pack(
        "<4s4I", b"OPEN", 1, 0, 7, total
    ) + bytes(byte ^ 0xFF for byte in b"OPEN") + b"shell:\0"  # fmt: skip


@settings(deadline=None)
@given(st.lists(PACKETS, max_size=6), st.lists(st.integers(0, 1500), max_size=8))
def test_packets_survive_any_cut(packets: list[Packet], cuts: list[int]) -> None:
    assert decode(b"".join(map(encode, packets)), cuts) == packets


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=10))
def test_random_bytes_end_in_the_documented_error_and_hold_little(pieces: list[bytes]) -> None:
    decoder = Decoder(max_payload=100)
    try:
        for piece in pieces:
            list(decoder.feed(piece))
            assert decoder.pending <= HEADER_BYTES + 100
    except ProtocolError:
        pass


@settings(deadline=None)
@given(PACKETS, st.integers(0, HEADER_BYTES * 8 - 1))
def test_a_bit_that_flips_in_a_command_is_seen(packet: Packet, bit: int) -> None:
    data = bytearray(encode(packet))
    if bit // 8 in range(4, 20):  # arguments, length and checksum protect nothing
        bit %= 32
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProtocolError, match="magic"):
        decode(bytes(data), [])


def test_an_oversize_length_is_refused_before_its_bytes_are_taken() -> None:
    packet = encode(Packet(Command.WRTE, 1, 1, bytes(101)))
    with pytest.raises(ProtocolError, match="101 bytes is over 100"):
        decode(packet[:HEADER_BYTES], [], max_payload=100)


def test_a_command_that_does_not_exist_is_refused() -> None:
    word = int.from_bytes(b"XXXX", "little")
    with pytest.raises(ProtocolError, match="no command"):
        decode(struct.pack("<6I", word, 0, 0, 0, 0, word ^ 0xFFFFFFFF), [])


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["ro.product.name", "ro.product.model"]), st.text()))
def test_no_property_adds_a_word_to_the_banner(properties: dict[str, str]) -> None:
    told = banner(properties).decode()
    kind, features = told.removeprefix("device::").rsplit(";", 1)
    assert [word.partition("=")[0] for word in kind.split(";")] == [
        "ro.product.name",
        "ro.product.model",
        "ro.product.device",
    ]
    assert "shell_v2" in features.removeprefix("features=").split(",")


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_a_service_name(data: bytes) -> None:
    assert "\0" not in service_name(data)
