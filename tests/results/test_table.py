"""The table at the end of a run, also with what a hostile device says."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from results.record import DeviceRecord, Judgement, Record, Tiers, Verdict
from results.table import device_name, gigabytes, next_step, next_steps, number, plain, table
from results.tiers import Tier
from tests.results.records import RECORDS, record

HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07 [red]markup[/red] [/nothing] a\r\nb\x9b2J \u202eabc"
LONG = "model-" * 60
UNSAFE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")


def rendered(records: list[Record], width: int) -> str:
    """What a terminal of that width without colours is sent."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=False)
    console.print(table(records))
    for line in next_steps(records):
        console.print(f"-> {line}", markup=False, highlight=False, soft_wrap=True)
    return stream.getvalue()


def named(model: str, **changes: Any) -> Record:
    whole = record()
    return whole.model_copy(
        update={
            "device": DeviceRecord(profile=model, name=model, kind="d", host=model, emulated=True),
            "workload": whole.workload.model_copy(
                update={"model": model, "quantisation": model, "runtime": model}
            ),
            "explanation": model,
            "judgement_reason": model,
            **changes,
        }
    )


def test_a_trial_has_two_rows_and_a_next_step() -> None:
    predicted, measured, step = (
        next(line for line in rendered([record()], 120).splitlines() if word in line)
        for word in (" predicted ", " measured ", "-> ")
    )
    assert predicted.split()[-6:] == ["predicted", "low", "6", "60", "5.00", "ok"]
    assert measured.split()[-6:] == ["measured", "low", "8", "55.5", "4.50", "ok"]
    assert step == (
        "-> desktop, gemma-2b/int4: slow: offer it for short answers, or a smaller model"
    )


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("text", ["gemma-2b", HOSTILE, LONG], ids=["plain", "hostile", "long"])
def test_every_verdict_can_be_shown(verdict: Verdict, text: str, width: int) -> None:
    whole = named(text, verdict=verdict, measurement=None, judgement=Judgement.UNKNOWN)
    shown = rendered([whole], width)
    assert not UNSAFE.search(shown)
    cells, steps = shown.split("\n-> ")
    assert all(len(line) <= width for line in cells.splitlines())
    assert verdict in cells
    assert "(unknown)" in cells
    assert len(steps.splitlines()) == 1
    if text is HOSTILE:
        assert "[red]markup[/red] [/nothing]" in steps


@settings(max_examples=25)
@given(st.lists(RECORDS, min_size=1, max_size=2))
def test_any_record_can_be_shown(records: list[Record]) -> None:
    shown = rendered(records, 120)
    assert not UNSAFE.search(shown)
    assert shown.count("\n-> ") >= len(records)


@given(st.text())
def test_plain_text_is_one_line_without_controls(text: str) -> None:
    assert len(plain(text).splitlines()) <= 1
    assert not UNSAFE.search(plain(text))
    plain(text).encode()


def test_plain_text_is_left_as_it_is() -> None:
    assert plain("Adreno™ 640, größer 👍") == "Adreno™ 640, größer 👍"


def test_a_special_artifact_is_named() -> None:
    whole = record()
    pruned = whole.workload.model_copy(update={"variant": "pruned-50"})
    text = rendered([whole, whole.model_copy(update={"workload": pruned})], 120)
    assert len(re.findall("gemma-2b/int4 pruned-50", text)) == 2  # in the table, and what to do
    assert len(re.findall("gemma-2b/int4", text)) == 4


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (0.1234, "0.123"), (99.94, "99.9"), (1234.5, "1234")]
)
def test_numbers(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_sizes() -> None:
    assert gigabytes(None) == "-"
    assert gigabytes(1_300_000_000) == "1.30"


def test_figures_that_are_not_a_devices_own_are_marked() -> None:
    whole = named("onnxruntime-web/webgpu")
    conditions = whole.conditions.model_copy(update={"software_adapter": True})
    whole = whole.model_copy(update={"conditions": conditions})
    assert device_name(whole).endswith(" (limited, software adapter)")
    assert device_name(record()) == "desktop"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": Verdict.INFRA}, "no statement about the device; mend the lab"),
        ({"judgement": Judgement.OVER_PROMISE}, "do not ship the prediction: "),
        ({"judgement": Judgement.UNDER_PROMISE}, "capable users would be refused: "),
        ({"verdict": Verdict.OOM}, "do not offer gemma-2b/int4 here: "),
        ({"verdict": Verdict.CRASH, "explanation": "it broke"}, "it broke"),
        ({"tiers": Tiers(prefill=None, decode=None, pair=Tier.HIGH)}, "offer the model here"),
        ({"tiers": Tiers(prefill=None, decode=None, pair=Tier.UNSUPPORTED)}, "it runs, but too"),
        ({"tiers": Tiers(prefill=None, decode=None, pair=None)}, "it runs; the figures put it"),
    ],
)
def test_the_next_step_follows_from_the_outcome(changes: dict[str, Any], words: str) -> None:
    assert next_step(record(**changes)).startswith(words)
