"""What is personal does not survive, wherever it stands; what is not, stays."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.emulation.capture.redact import Redactor, Secret

HEX = "0123456789abcdef"
DIGITS = st.text("0123456789", min_size=1)


def joined(separator: str, part: st.SearchStrategy[str], count: int) -> st.SearchStrategy[str]:
    return st.lists(part, min_size=count, max_size=count).map(separator.join)


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=count, max_size=count)


def hexadecimal(count: int) -> st.SearchStrategy[str]:
    lower = st.text(HEX, min_size=count, max_size=count)
    return st.one_of(lower, lower.map(str.upper))


WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=10)
OCTET = st.integers(1, 255).map(str)
BY_FORM = st.one_of(
    st.tuples(WORD, WORD, WORD).map(lambda w: f"{w[0]}.{w[1]}@{w[2]}.example.com"),
    joined(":", hexadecimal(2), 6),
    joined("-", hexadecimal(2), 6),
    st.tuples(st.integers(128, 255).map(str), OCTET, OCTET, OCTET).map(".".join),
    joined(":", hexadecimal(4), 8),
    st.tuples(hexadecimal(4), hexadecimal(4)).map(lambda g: f"fe80::{g[0]}:{g[1]}"),
    st.uuids().map(str),
    digits(15),  # IMEI, IMSI
    digits(14).map(lambda d: f"{d[:2]}-{d[2:8]}-{d[8:14]}-7"),
    st.sampled_from([19, 20]).flatmap(digits).map(lambda d: "89" + d[2:]),  # ICCID
    hexadecimal(14),  # MEID
    hexadecimal(16),  # Android id
    hexadecimal(64),  # vbmeta digest
    digits(9).map(lambda d: f"+49 171 {d}"),
    digits(10).map(lambda d: f"({d[:3]}) {d[3:6]}-{d[6:]}"),
    st.tuples(st.floats(-90, 90), st.floats(-180, 180)).map(lambda p: f"{p[0]:.5f}, {p[1]:.5f}"),
)
AROUND = st.text(max_size=60)
LITERAL = st.text(
    st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=4, max_size=24
).map(str.strip)


@settings(max_examples=200)
@given(before=AROUND, secret=BY_FORM, after=AROUND)
def test_what_has_the_form_of_something_personal_never_survives(
    before: str, secret: str, after: str
) -> None:
    left = Redactor().redact(before + secret + after)
    assert secret.lower() not in left.lower()


@settings(max_examples=200)
@given(before=AROUND, secret=LITERAL, after=AROUND, times=st.integers(1, 3))
def test_what_is_known_literally_never_survives(
    before: str, secret: str, after: str, times: int
) -> None:
    assume(len(secret) >= 4 and secret.lower() not in "<removed name>")
    left = Redactor([Secret("name", secret)]).redact((before + secret) * times + after)
    assert secret not in left


@given(before=AROUND, one=BY_FORM, other=BY_FORM, known=LITERAL, after=AROUND)
def test_secrets_do_not_shield_each_other(
    before: str, one: str, other: str, known: str, after: str
) -> None:
    assume(len(known) >= 4 and known.lower() not in "<removed name>")
    redactor = Redactor([Secret("name", known), Secret("serial", one)])
    for text in (one + known + other, known + one, one[:3] + known + one, f"{known}.{one}"):
        left = redactor.redact(before + text + after)
        assert known not in left
        assert one not in left


@given(st.text(max_size=300))
def test_nothing_that_was_left_is_found_again(text: str) -> None:
    left = Redactor().redact(text)
    second = Redactor()
    assert second.redact(left) == left
    assert not second.removed


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('SSID: "Smith family", BSSID: x', "SSID: <removed wifi>, BSSID: <removed wifi>"),
        ('Wifi is connected to "Smith family"', "Wifi is connected to <removed wifi>"),
        ("mWifiInfo SSID: Smith family, MAC: y", "mWifiInfo SSID: <removed wifi>, MAC: y"),
        ("Account {name=Anna, type=com.x}", "Account {name=<removed account>, type=com.x}"),
        ("UserInfo{0:Anna Smith:c13} running", "UserInfo{0:<removed user>:c13} running"),
        ("[ro.serialno]: [2B181FDH2000VD]", "[ro.serialno]: [<removed serial>]"),
        ("Serial\t\t: 00ab", "Serial\t\t: <removed serial>"),
        ('{"latitude": 52.5, "x": 1}', '{"latitude": <removed place>, "x": 1}'),
    ],
)
def test_what_stands_after_its_name_goes(text: str, left: str) -> None:
    assert Redactor().redact(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "  level: 87\n  temperature: 291\n  Charge counter: 3655000\n",
        "Temperature{mValue=34.2, mType=0, mName=VIRTUAL-SKIN, mStatus=1}",
        "GLES: ARM, Mali-G710, OpenGL ES 3.2 v1.r38p1-01eac0.1f36b5f2b5a4b9a1",
        "versionName=156.0.8078.79\n    versionCode=807807933 minSdk=29",
        "MemTotal:        7759364 kB\nMemAvailable:    3102344 kB\n",
        "google/panther/panther:15/BP1A.250505.005.B1/13277630:user/release-keys",
        "/dev/block/dm-53 115248128 61234567 54013561 54% /data",
        "cpu0 1803000 1803000",
        "11-26 09:12:33.123  1500  1507 I ActivityManager: Start proc",
        "feature:android.hardware.vulkan.version=4206592",
        '"maxBufferSize": 18446744073709551615',
        "connect to 127.0.0.1:8080, 0.0.0.0",
        "android::hardware::thermal::V1_0",
        "BP4A.251205.006.S938BXXSBCZG3",
    ],
)
def test_what_the_harness_reads_stays(text: str) -> None:
    redactor = Redactor([Secret("serial", "2B181FDH2000VD")])
    if "r38p1" in text:  # a build's hash has the form of an id
        assert redactor.redact(text).startswith("GLES: ARM, Mali-G710, OpenGL ES 3.2 v1.r38p1-")
    else:
        assert redactor.redact(text) == text
        assert not redactor.removed


def test_a_known_address_goes_without_its_colons_too() -> None:
    redactor = Redactor([Secret("mac", "AA:bb:0c:1d:2e:3f")])
    assert redactor.redact("node=aabb0c1d2e3f;") == "node=<removed mac>;"


def test_what_is_too_short_is_not_searched_for() -> None:
    assert Redactor([Secret("name", "an")]).redact("an android") == "an android"


def test_it_is_counted_by_kind() -> None:
    redactor = Redactor([Secret("name", "Anna")])
    redactor.redact("Anna anna@example.com 10.1.2.3 ANNA")
    assert dict(redactor.removed) == {"name": 2, "e-mail": 1, "ip": 1}


@pytest.mark.parametrize(
    "piece",
    ["a", "a.", "a:", "1.0000 ", 'ssid:"', "serial=", "lat ", "\\", "1", "+1 ", "Account {name="],
)
def test_a_long_answer_does_not_keep_it_busy(piece: str) -> None:
    """A form that goes back and forth would not come to its end within the test's life."""
    Redactor([Secret("name", "Anna")]).redact(piece * (200_000 // len(piece)))
