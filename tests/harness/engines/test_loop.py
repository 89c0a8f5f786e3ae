"""The loop of native engines, on engines that play a script in this process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness.engines.loop import (
    TEXT_CHARACTERS,
    ArtifactRefusedError,
    Log,
    Prompt,
    Token,
    UnsupportedError,
    serve,
)
from harness.evidence import Timeline
from harness.load import Follower
from results.record import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

JOB: dict[str, Any] = {
    "prompt": {"ids": [5, 6], "text": " a b"},
    "outputTokens": 4,
    "warmLimitMs": 60_000,
}


class Scripted:
    """An engine whose tokens come in the given batches."""

    def __init__(
        self,
        *batches: list[Token],
        counted: int | None = 7,
        error: BaseException | None = None,
    ) -> None:
        self.batches, self.counted, self.error = batches, counted, error
        self.calls: list[tuple[Prompt, int]] = []
        self.disposed = 0

    def create(self, progress: Callable[[int, int], None]) -> None:
        progress(5, 10)
        if self.error:
            raise self.error

    def generate(
        self, prompt: Prompt, count: int, on_tokens: Callable[[list[Token]], None]
    ) -> int | None:
        self.calls.append((prompt, count))
        for batch in self.batches if len(self.calls) == 1 else self.batches[:1]:
            on_tokens(batch)
        return self.counted

    def dispose(self) -> None:
        self.disposed += 1


def events_of(engine: Scripted, **job: Any) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    serve({**JOB, **job}, lambda _: engine, events.append)
    assert json.loads(json.dumps(events)) == events
    return events


def follow(events: list[dict[str, Any]]) -> tuple[Follower, Timeline]:
    """What the harness makes of them."""
    timeline = Timeline()
    follower = Follower(timeline, lambda: None, lambda _: None)
    for event in events:
        follower.on_event(event)
    return follower, timeline


def word(number: int, *, finite: bool | None = True) -> Token:
    return Token(number=number, finite=finite)


def test_cold_prompt_then_the_same_again_for_one_token() -> None:
    engine = Scripted([word(1)], [word(2), word(3)], [word(4)])
    events = events_of(engine)
    prompt = Prompt(ids=(5, 6), text=" a b")
    assert engine.calls == [(prompt, 4), (prompt, 1)]
    assert engine.disposed == 1
    follower, timeline = follow(events)
    log = follower.log
    assert (log.tokens, log.prompt_tokens, log.bytes_loaded) == ([1, 2, 3, 4], 7, 5)
    assert log.warm_ms is not None
    assert [phase.name for phase in log.phases] == [
        "start", "create", "first-token", "decode", "warm",
    ]  # fmt: skip
    assert timeline.items[-1].detail == {"tokens": 4, "finite": True}
    assert Kind.LAB_ERROR not in {item.kind for item in timeline.items}


@pytest.mark.parametrize(
    ("tokens", "finite"),
    [
        ([True, True], True),
        ([True, None], None),
        ([None, None], None),
        ([None, False], False),
        ([True, False], False),
    ],
)
def test_what_is_known_of_all_logits(tokens: list[bool | None], *, finite: bool | None) -> None:
    events = events_of(Scripted(*([word(1, finite=known)] for known in tokens)))
    assert events[-2]["finite"] is finite


def test_a_prompt_that_took_long_is_not_repeated() -> None:
    engine = Scripted([word(1)])
    events = events_of(engine, warmLimitMs=-1)
    assert len(engine.calls) == 1
    assert "warm" not in {event["type"] for event in events}
    assert events[-1]["type"] == "disposed"


def test_no_token_at_all_is_said_as_well() -> None:
    engine = Scripted(counted=None)
    events = events_of(engine)
    assert len(engine.calls) == 1
    assert [event for event in events if event["type"] == "prompt"] == []
    _, timeline = follow(events)
    assert timeline.items[-1].detail == {"tokens": 0, "finite": True}


@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (UnsupportedError("no operator"), Kind.UNSUPPORTED, {"reason": "no operator"}),
        (ArtifactRefusedError("no tensor"), Kind.ARTIFACT_REFUSED, {"message": "no tensor"}),
        (ValueError("bad"), Kind.ENGINE_ERROR, {"name": "ValueError", "message": "bad"}),
        (MemoryError(), Kind.ENGINE_ERROR, {"name": "MemoryError", "message": ""}),
        (KeyboardInterrupt(), Kind.ENGINE_ERROR, {"name": "KeyboardInterrupt", "message": ""}),
    ],
)
def test_an_engine_that_fails(error: BaseException, kind: Kind, detail: dict[str, str]) -> None:
    _, timeline = follow(events_of(Scripted(error=error)))
    last = timeline.items[-1]
    assert last.kind is kind
    assert detail.items() <= last.detail.items()
    if kind is Kind.ENGINE_ERROR:
        assert "in create" in last.text("stack")


def test_an_engine_that_cannot_be_prepared() -> None:
    events: list[dict[str, Any]] = []

    def make(_: dict[str, Any]) -> Scripted:
        raise ModuleNotFoundError("No module named 'engine'")

    serve(JOB, make, events.append)
    assert [event["type"] for event in events] == ["phase", "error"]


def test_texts_are_cut() -> None:
    events = events_of(Scripted(error=ValueError("x" * 10**6)))
    assert len(events[-1]["message"]) == len(events[-1]["stack"]) == TEXT_CHARACTERS


def test_a_log_is_read_from_where_it_stood(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    log = Log(str(path))
    assert log.lines() == []
    with path.open("ab") as file:
        file.write(b"one\n\xfftwo\n")
    assert log.lines() == ["one", "\ufffdtwo"]
    assert log.wait_for("two", within=60) == ["one", "\ufffdtwo"]
    assert log.wait_for("three", within=0) == ["one", "\ufffdtwo"]
