"""The documented schema is the one that lines are made by."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.influx.schema import MEASUREMENTS
from results.influx.schema_markdown import BEGIN, END, main, schema_markdown, with_schema

DOCUMENT = Path(__file__).parent.parent.parent.parent / "docs" / "influx-schema.md"


def test_the_documented_schema_is_todays() -> None:
    text = DOCUMENT.read_text()
    assert text == with_schema(text), (
        f"run: python -m results.influx.schema_markdown {DOCUMENT.name}"
    )


def test_every_name_and_type_is_in_it() -> None:
    sections = schema_markdown().split("### ")[1:]
    for measurement, section in zip(MEASUREMENTS, sections, strict=True):
        assert section.startswith(f"`{measurement.name}`\n")
        rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "|" in line]
        for tag in measurement.tags:
            assert [f"`{tag.name}`", tag.meaning] in rows
        for field in measurement.fields:
            assert [f"`{field.name}`", field.type, field.unit, field.meaning] in rows


def test_no_meaning_breaks_its_table() -> None:
    for measurement in MEASUREMENTS:
        meanings = [tag.meaning for tag in measurement.tags]
        meanings += [field.meaning for field in measurement.fields]
        assert not any(set("|\n") & set(meaning) for meaning in meanings)


def test_a_document_is_brought_up_to_date_between_its_marks_only(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert main([str(document)]) == 0
    assert document.read_text() == f"before\n{BEGIN}\n\n{schema_markdown()}\n{END}\nafter\n"


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}"])
def test_a_document_without_its_marks_is_left_alone(text: str) -> None:
    with pytest.raises(ValueError, match="marks"):
        with_schema(text)


def test_how_it_is_used() -> None:
    assert main([]) == 2
