"""How the errors that a user can mend read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from harness.errors import UserError, first_fault, nearest, unknown


def test_the_message_is_the_problem_and_the_next_step() -> None:
    assert str(UserError("it is broken", "mend it")) == "it is broken\n  -> mend it"


def test_a_message_without_a_next_step() -> None:
    error = UserError("it is broken")
    assert str(error) == "it is broken"
    assert error.next_step == ""


def test_near_names_come_best_first_and_in_their_own_case() -> None:
    assert nearest("gema_2b", ["GEMMA2_2B", "GEMMA_2B", "phi-2"])[0] == "GEMMA_2B"


def test_nothing_is_near_to_nonsense() -> None:
    assert nearest("zzzz", ["desktop", "pixel7"]) == []


def test_an_unknown_name_with_near_ones() -> None:
    message = str(unknown("device", "desctop", ["desktop", "pixel7"]))
    assert message == "unknown device 'desctop'\n  -> did you mean desktop?"


def test_an_unknown_name_with_none_near_shows_all() -> None:
    message = str(unknown("device", "zzzz", ["pixel7", "desktop"]))
    assert message == "unknown device 'zzzz'\n  -> known: desktop, pixel7"


@given(st.text(), st.lists(st.text()))
def test_near_names_are_always_known_ones(word: str, known: list[str]) -> None:
    found = nearest(word, known)
    assert set(found) <= set(known)
    assert len(found) <= 3


class Small(BaseModel):
    """A model with a place in a place."""

    numbers: list[int]


@given(st.text())
def test_the_first_fault_of_any_text_is_one_line(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Small.model_validate_json(f"[{text}]")
    assert len(first_fault(caught.value).splitlines()) == 1


def test_the_first_fault_names_its_place_and_quotes_nothing() -> None:
    with pytest.raises(ValidationError) as caught:
        Small.model_validate_json('{"numbers": [1, "a secret", "another"]}')
    said = first_fault(caught.value)
    assert said.startswith("numbers.1: Input should be a valid integer")
    assert "secret" not in said
    with pytest.raises(ValidationError) as caught:
        Small.model_validate_json("{")
    assert first_fault(caught.value, "the line").startswith("the line: Invalid JSON")
