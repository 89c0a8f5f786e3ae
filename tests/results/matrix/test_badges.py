"""Badges: well-formed, readable, and never a better device than the one that was measured."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.matrix.badges import (
    COLOURS,
    FAILED_COLOUR,
    IMPOSSIBLE_COLOUR,
    LABEL_COLOUR,
    Badge,
    badges,
)
from results.record import Verdict
from tests.results.matrix.stores import (
    HOSTILE_RECORDS,
    NOW,
    matrix_of,
    trial,
    with_conditions,
    with_device,
    with_speeds,
    with_workload,
)

if TYPE_CHECKING:
    from results.record import Record

SVG = "{http://www.w3.org/2000/svg}"


def phone(number: int, **changes: object) -> Record:
    return with_device(trial(number, **changes), profile="pixel7", kind="android", name="Pixel 7")


def only_badge(*records: Record) -> tuple[str, Badge]:
    ((address, badge),) = badges(matrix_of(*records))
    return address, badge


def test_a_badge_says_how_a_model_runs_on_a_device() -> None:
    address, badge = only_badge(with_speeds(phone(1), decode=12.3, prefill=100.0))
    assert address == "badges/support/pixel7/gemma-2b"
    assert badge == Badge("gemma-2b on Pixel 7", "medium, 12.3 tok/s", COLOURS["medium"])


@pytest.mark.parametrize(
    ("verdict", "message", "colour"),
    [
        (Verdict.OOM, "out of memory", FAILED_COLOUR),
        (Verdict.CRASH, "crash", FAILED_COLOUR),
        (Verdict.HANG, "hang", FAILED_COLOUR),
        (Verdict.UNSUPPORTED, "cannot run", IMPOSSIBLE_COLOUR),
    ],
)
def test_a_badge_says_why_not(verdict: Verdict, message: str, colour: str) -> None:
    _, badge = only_badge(phone(1, verdict=verdict))
    assert (badge.message, badge.colour) == (message, colour)


def test_a_desktop_is_named_by_its_hardware() -> None:
    _, badge = only_badge(trial(1))
    assert badge.label == "gemma-2b on a processor, 2 cores, 8 GiB"


def test_a_limited_device_says_so() -> None:
    limited = with_device(trial(1), profile="desktop-2g", name="Desktop in 2 GiB", emulated=True)
    address, badge = only_badge(limited)
    assert address.startswith("badges/limited/")
    assert badge.label == "gemma-2b on Desktop in 2 GiB (limited)"


def test_a_software_adapter_says_so_however_long_the_name() -> None:
    software = with_conditions(
        with_device(
            with_workload(trial(1), runtime="mediapipe/webgpu"), kind="android", name="P" * 200
        ),
        software_adapter=True,
    )
    address, badge = only_badge(software)
    assert address.startswith("badges/software-adapter/")
    assert badge.label.endswith("… (software adapter)")
    assert len(badge.label) <= 70


def test_what_is_out_of_date_says_so() -> None:
    ((_, badge),) = badges(matrix_of(phone(0), now=NOW + timedelta(days=90)))
    assert badge.message.endswith(", out of date")


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(
    "colour", [*COLOURS.values(), FAILED_COLOUR, IMPOSSIBLE_COLOUR, LABEL_COLOUR]
)
def test_white_words_can_be_read(colour: str) -> None:
    assert 1.05 / (luminance(colour) + 0.05) >= 4.5


def check_svg(badge: Badge) -> None:
    root = ET.fromstring(badge.svg())  # noqa: S314 - our own
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "title", "rect", "g", "text"}
    assert root.get("role") == "img"
    title = root.findtext(f"{SVG}title")
    assert title == root.get("aria-label") == f"{badge.label}: {badge.message}"
    assert all(
        re.fullmatch(r"[\w-]+", name) and not name.startswith("on")
        for element in root.iter()
        for name in element.attrib
    )


def test_a_badge_is_a_picture_with_a_title() -> None:
    check_svg(only_badge(phone(1))[1])


@settings(max_examples=60, deadline=None)
@given(st.lists(HOSTILE_RECORDS, max_size=3, unique_by=lambda record: record.trial_id))
def test_any_records_make_badges(records: list[Record]) -> None:
    found = list(badges(matrix_of(*records)))
    assert len({address for address, _ in found}) == len(found)
    for address, badge in found:
        assert re.fullmatch(r"badges/[a-z-]+/[a-z0-9-]+/[a-z0-9-]+", address)
        check_svg(badge)
        endpoint = json.loads(badge.endpoint())
        assert endpoint["schemaVersion"] == 1
        assert re.fullmatch("[0-9a-f]{6}", endpoint["color"])
        if address.startswith("badges/support/"):
            assert not badge.label.endswith(("(limited)", "(emulated)"))
        else:
            assert re.search(
                r"\(((limited|emulated)(, software adapter)?|software adapter)\)$", badge.label
            )
