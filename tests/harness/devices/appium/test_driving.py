from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from harness.devices.appium.driving import Driver
from harness.devices.appium.measuring import between, measure
from harness.devices.appium.session import AppiumError, SessionLostError
from harness.verdict import judge
from results.record import Kind, Source, Verdict
from tests.harness.devices.appium.screens import Clock, ScriptedScreen, app, timeline

if TYPE_CHECKING:
    from harness.devices.appium.app import App
    from harness.devices.appium.driving import AppLog
    from harness.devices.appium.measuring import Measured
    from harness.evidence import Timeline

WRITING = {"prompt": [""], "stop": [""]}
ANSWER = "one two three four"


def drive(screen: ScriptedScreen, described: App) -> tuple[AppLog, Timeline, Measured]:
    line = timeline(screen.clock)
    driver = Driver(screen, described, line, poll_seconds=0)
    asyncio.run(driver.run(described.model(None), "hello"))
    return driver.log, line, measure(driver.log, line, {"engine": 5}, 6)


def good_screen() -> ScriptedScreen:
    return ScriptedScreen(
        Clock(),
        then=[
            (0.0, WRITING),
            (2.0, {**WRITING, "answer": ["one"]}),
            (4.0, {**WRITING, "answer": ["one two three"]}),
            (6.0, {**WRITING, "answer": [ANSWER]}),
            (8.0, {"prompt": [""], "answer": [ANSWER]}),
            (9.0, {"prompt": [""], "answer": [ANSWER], "speed": ["12.5 tokens/s"]}),
        ],
    )


def test_a_prompt_is_asked_and_its_output_followed_to_the_end() -> None:
    screen = good_screen()
    log, line, measured = drive(screen, app())
    assert screen.tapped == ["Gemma", "send"]
    assert screen.typed == ["say: hello"]
    assert log.output == ANSWER
    assert [phase.name for phase in log.phases] == ["create", "first-token", "decode"]
    assert judge(line.items).verdict is Verdict.OK
    done = line.first(Kind.DONE)
    assert done is not None
    assert (done.detail["tokens"], done.detail["counted_by"]) == (4, "words")
    found = measured.measurement
    assert found.decode_tokens_per_s == pytest.approx(12.5)
    # Noticed at the first look after 2 s, and never before.
    assert found.first_token_seconds is not None
    assert 2.0 <= found.first_token_seconds < 3.5
    assert found.memory.engine_bytes == 5
    assert measured.told_by == {
        "decode_tokens_per_s": "app",
        "first_token_seconds": "seen",
        "create_seconds": "seen",
    }


def test_without_a_figure_the_running_count_tells_the_speed() -> None:
    screen = good_screen()
    screen.then = [
        (at, {**shown, "left": [f"{left} left"]})
        for (at, shown), left in zip(screen.then, (100, 99, 97, 96, 96, 96), strict=True)
    ]
    output = {
        "find": {"id": "answer"},
        "running": {"id": "stop"},
        "count": {"find": {"id": "left"}, "pattern": "(?P<value>[0-9]+) left", "counts": "down"},
    }
    log, line, measured = drive(screen, app(output=output, figures=[]))
    # One token came before the first look at the count.
    assert line.first(Kind.DONE) is not None
    assert [glimpse.count for glimpse in log.glimpses][-1] == 96
    assert len(between(log.glimpses)) == 2
    assert measured.measurement.decode_tokens_per_s == pytest.approx(1.0, rel=0.5)
    assert measured.told_by["decode_tokens_per_s"] == "seen"


def test_what_an_earlier_prompt_left_is_no_output() -> None:
    screen = good_screen()
    old = {"answer": ["old"]}
    screen.after_load = {**screen.after_load, **old}
    screen.then[0] = (0.0, {**WRITING, **old})
    log, _, measured = drive(screen, app())
    assert log.output == ANSWER
    assert (measured.measurement.first_token_seconds or 0) >= 2.0


def test_output_that_stands_still_has_ended_where_nothing_else_says_so() -> None:
    screen = good_screen()
    output = {"find": {"id": "answer"}, "quiet_seconds": 2.5}
    log, line, _ = drive(screen, app(output=output))
    assert log.output == ANSWER
    assert judge(line.items).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("then", "unverified", "verdict", "said"),
    [
        ([(0.0, WRITING)], [], Verdict.HANG, "nothing came out of first-token for 20"),
        (
            [(0.0, WRITING), (2.0, {**WRITING, "answer": ["one"]})],
            [], Verdict.HANG, "nothing came out of decode for 10",
        ),
        # A description that was never seen to work may look in the wrong place.
        ([(0.0, WRITING)], ["output"], Verdict.INFRA, "not verified on a phone: output"),
        (
            [(1.0, {"error": ["not enough memory"]})],
            [], Verdict.OOM, "out of memory: not enough memory",
        ),
        # A text that the description does not call a failure is none.
        ([(1.0, {"error": ["a hint"]})], [], Verdict.HANG, "nothing came out of first-token"),
    ],
)  # fmt: skip
def test_how_it_can_end_without_an_answer(
    then: list[tuple[float, dict[str, list[str]]]],
    unverified: list[str],
    verdict: Verdict,
    said: str,
) -> None:
    _, line, measured = drive(ScriptedScreen(Clock(), then=then), app(unverified=unverified))
    judged = judge(line.items)
    assert (judged.verdict, said in judged.explanation) == (verdict, True), judged
    assert measured.measurement.decode_ms is None


def test_a_step_that_is_not_shown_is_a_fault_of_the_lab() -> None:
    screen = ScriptedScreen(Clock(), after_load={"prompt": [""]})
    _, line, _ = drive(screen, app())
    judged = judge(line.items)
    assert judged.verdict is Verdict.INFRA
    assert "A chat does not show id 'send' within 5 s (to tap)" in judged.explanation


def test_a_step_that_may_be_left_out_is_left_out_and_a_long_list_is_scrolled() -> None:
    screen = good_screen()
    load = {
        "steps": [
            {"tap": {"text": "Accept"}, "optional": True, "within": 1, "scroll": True},
            {"tap": {"text": "{model}"}, "scroll": True},
        ]
    }
    _, line, _ = drive(screen, app(load=load))
    assert judge(line.items).verdict is Verdict.OK
    assert screen.tapped == ["scroll Accept", "Gemma", "send"]


def test_a_death_that_the_watch_sees_ends_the_wait() -> None:
    screen = good_screen()
    line = timeline(screen.clock)

    def die() -> None:
        if screen.sent_at is not None and screen.clock.seconds > screen.sent_at + 3:
            line.add(Source.LOGCAT, Kind.LMK_KILL, process="engine", pid=7, reason="thrashing")
            line.add(Source.ADB, Kind.CHILD_GONE, pid=7, line="")
            screen.on_look = lambda: None

    screen.on_look = die
    driver = Driver(screen, app(), line, poll_seconds=0)
    asyncio.run(driver.run(app().model(None), "hello"))
    judged = judge(line.items)
    assert judged.verdict is Verdict.OOM
    assert "killed the engine's process for memory during decode" in judged.explanation
    assert line.first(Kind.DONE) is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SessionLostError("tap did not end within 30 s"), "Appium's session is gone: tap did not"),
        (AppiumError("tap: stale"), "Appium's session failed: tap: stale"),
    ],
)
def test_a_session_that_fails_is_the_labs_fault(error: AppiumError, said: str) -> None:
    screen = good_screen()

    def fail() -> None:
        if screen.sent_at is not None:
            raise error

    screen.on_look = fail
    _, line, _ = drive(screen, app())
    judged = judge(line.items)
    assert judged.verdict is Verdict.INFRA
    assert said in judged.explanation
