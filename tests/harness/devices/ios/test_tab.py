from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.base import TabLostError
from harness.devices.ios.scripts import MOST_CHARACTERS
from harness.devices.ios.tab import IosTab, _object
from harness.evidence import Timeline
from results.record import Kind

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Says:
    """A session in which every script answers the same."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def script(self, source: str, *arguments: Any, within: float) -> Any:
        del source, arguments, within
        return self.answer


def tab(answer: Any, timeline: Timeline, events: list[Any]) -> IosTab:
    return IosTab(Says(answer), timeline, events.append, "mark")  # type: ignore[arg-type]


@given(JSON)
def test_whatever_a_page_answers_a_call_has_a_value_or_is_lost(answer: Any) -> None:
    async def call() -> Any:
        return await tab(answer, Timeline(), []).call("f", None, within=0.05)

    try:
        assert asyncio.run(call()) == json.loads(answer)["value"]
    except TabLostError:
        assert "value" not in _object(answer)


@given(st.dictionaries(st.sampled_from(["mark", "told", "title"]), JSON))
def test_whatever_a_page_tells_only_objects_are_events(told: dict[str, Any]) -> None:
    timeline, events = Timeline(), list[Any]()
    found = tab(None, timeline, events)
    found._take({**told, "mark": "mark"})
    assert all(isinstance(event, dict) for event in events)
    assert not timeline.items
    found._take({**told, "mark": None})
    assert timeline.first(Kind.RENDERER_GONE) is not None


@pytest.mark.parametrize(
    "answer", [None, 7, "", "nothing", "[1]", "{" * 50_000, '"' + "x" * MOST_CHARACTERS + '"']
)
def test_what_is_no_object_is_an_empty_one(answer: Any) -> None:
    assert _object(answer) == {}
