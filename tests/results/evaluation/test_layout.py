from __future__ import annotations

from dataclasses import replace

from results.evaluation.evaluate import evaluate, foretell_all
from results.evaluation.layout import escaped, sheets
from tests.results.worlds import DEVICES, World


def test_a_rule_that_is_as_good_is_named() -> None:
    same = tuple(replace(d, stream=d.dot * d.duty, operation=1e-12) for d in DEVICES)
    found = evaluate(foretell_all(World(devices=same, repeats=1).observations()))
    rules = next(s for s in sheets(found, lambda _: True) if "simpler rules" in s.title)
    assert any(note.startswith("not beaten: bandwidth only") for note in rules.notes)
    assert not any("hardwareConcurrency" in note for note in rules.notes)


def test_every_row_has_a_cell_for_every_heading() -> None:
    found = evaluate(foretell_all(World(repeats=1).observations()))
    for sheet in sheets(found, lambda _: True):
        assert sheet.rows
        for row in sheet.rows:
            assert len(row) == len(sheet.headings)


def test_markdown_shows_text_as_it_is() -> None:
    assert escaped("a|b_c*<d>") == r"a\|b\_c\*\<d\>"
