"""`tierlab regressions`: what it prints, and what it tells a CI job."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from harness.cli import main
from results.record import Spread, Verdict
from results.store import FILE_NAME, Store
from tests.results.records import record

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 1, 1, tzinfo=UTC)


class Lab:
    """Fills a store with trials, and asks of it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self._trials = 0

    def ran(
        self, version: str, factor: float = 1.0, n: int = 6, verdict: Verdict = Verdict.OK
    ) -> None:
        with Store.open(self.folder) as store:
            store.start_run("run-1", "")
            for _ in range(n):
                self._trials += 1
                whole = record(f"trial-{self._trials}", verdict=verdict)
                assert whole.measurement is not None
                speed = 125.0 * factor * (1 + self._trials % 3 / 500)
                store.add(
                    whole.model_copy(
                        update={
                            "started_at": START + timedelta(hours=self._trials),
                            "measurement": whole.measurement.model_copy(
                                update={"decode_ms": Spread(n=3, median=speed, p10=1.0, p90=2.0)}
                            ),
                            "conditions": whole.conditions.model_copy(
                                update={"browser_version": version}
                            ),
                        }
                    )
                )

    def asks(self, *words: str, by: str = "browser") -> tuple[int, str, str]:
        code = main(["regressions", f"--by={by}", f"--results={self.folder}", *words])
        said = self._capsys.readouterr()
        return code, said.out, said.err


@pytest.fixture
def lab(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("COLUMNS", "80")
    return Lab(tmp_path / "results", capsys)


def test_nothing_regressed(lab: Lab) -> None:
    lab.ran("156.0.1")
    lab.ran("157.0.1", 0.99)
    assert lab.asks()[0] == 0
    code, out, _ = lab.asks("--strict")
    assert code == 0
    assert "0 regressed" in out


def test_something_regressed(lab: Lab) -> None:
    lab.ran("156.0.9")
    lab.ran("156.0.10", 1.3)
    code, out, err = lab.asks("--strict")
    assert code == 1
    assert "-> decode speed: first bad 156.0.10, last good 156.0.9\n" in out
    assert err == ""
    assert max(map(len, out.splitlines())) < 120


def test_not_enough_data_is_an_error_only_when_strict(lab: Lab) -> None:
    lab.ran("156.0.1", n=2)
    lab.ran("157.0.1", n=2)
    assert lab.asks()[0] == 0
    assert lab.asks("--strict")[0] == 3


def test_nothing_to_compare_is_not_green_when_strict(lab: Lab) -> None:
    lab.ran("156.0.1")
    assert lab.asks()[0] == 0
    assert lab.asks("--strict")[0] == 3


def test_a_regression_outweighs_a_lack_of_data(lab: Lab) -> None:
    lab.ran("156.0.1", n=4)
    lab.ran("157.0.1", 1.3, n=4)
    lab.ran("158.0.1", n=1)
    assert lab.asks("--strict")[0] == 1


@pytest.mark.parametrize("verdict", [Verdict.INFRA, Verdict.CASCADE])
def test_what_the_lab_spoiled_never_counts(lab: Lab, verdict: Verdict) -> None:
    lab.ran("156.0.1")
    lab.ran("157.0.1", 9.0, verdict=verdict)
    code, out, _ = lab.asks()
    assert (code, out) == (
        0, "nothing to compare by browser; 1 have nothing to be compared with\n",
    )  # fmt: skip


def test_the_tolerance_is_in_percent(lab: Lab) -> None:
    lab.ran("156.0.1")
    lab.ran("157.0.1", 1.3)
    code, out, _ = lab.asks("--tolerance=40", "--all")
    assert code == 0
    assert "40 % either way" in out
    assert "decode speed" in out


def test_from_a_baseline_on(lab: Lab) -> None:
    for version, factor in (("1.0", 1.0), ("2.0", 1.3), ("3.0", 1.3)):
        lab.ran(version, factor)
    assert lab.asks()[0] == 1
    code, out, _ = lab.asks("--baseline=2.0")
    assert code == 0
    assert "1 series compared by browser from 2.0 on" in out


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("--device=desktop", 1), ("--device=other", 0), ("--model=gemma-2b", 1),
        ("--model=other", 0), ("--quant=int4", 1), ("--quant=q4_k", 0),
        ("--runtime=onnxruntime-web/wasm", 1), ("--runtime=wllama/wasm", 0),
        ("--since=2025-12-31", 1), ("--since=2026-01-01T08:00", 0),
    ],
)  # fmt: skip
def test_filters(lab: Lab, option: str, code: int) -> None:
    lab.ran("156.0.1")
    lab.ran("157.0.1", 1.3)
    assert lab.asks(option)[0] == code


def test_everything_as_json(lab: Lab) -> None:
    lab.ran("156.0.1")
    lab.ran("157.0.1", 1.3)
    code, out, _ = lab.asks("--json")
    assert code == 1
    found = json.loads(out)
    assert (found["by"], found["tolerance"], found["baseline"]) == ("browser", 0.05, None)
    (series,) = found["series"]
    assert [group["version"] for group in series["groups"]] == ["156.0.1", "157.0.1"]
    trend = next(t for t in series["trends"] if t["figure"] == "decode_tokens_per_s")
    assert (trend["change"], trend["first_bad"]) == ("regressed", "157.0.1")
    assert trend["steps"][0]["comparison"]["ratio"] == pytest.approx(1 / 1.3, rel=0.01)


# ---- what cannot be carried out ----


def test_a_folder_without_results(lab: Lab) -> None:
    code, _, err = lab.asks()
    assert code == 2
    assert "there are no results here\n  -> run `tierlab run` first" in err
    assert not lab.folder.exists()


def test_a_store_that_is_none(lab: Lab) -> None:
    lab.folder.mkdir()
    (lab.folder / FILE_NAME).write_text("hello " * 100)
    code, _, err = lab.asks()
    assert code == 2
    assert "file is not a database" in err
    assert "Traceback" not in err


def test_an_unknown_baseline_names_those_there_are(lab: Lab) -> None:
    for number in range(10):
        lab.ran(f"{number}.0", n=1)
    code, out, err = lab.asks("--baseline=9")
    assert (code, out) == (2, "")
    assert err == (
        "tierlab: --baseline 9: no trial has that version\n"
        "  -> known: 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, and 2 older\n"
    )
    code, _, err = lab.asks("--baseline=9", "--model=none")
    assert code == 2
    assert "nothing that fits is stored" in err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--by=weather", "invalid choice"),
        ("--tolerance=much", "much is not a number above 0, such as 5"),
        ("--tolerance=0", "0 is not a number above 0"),
        ("--tolerance=inf", "inf is not a number above 0"),
        ("--since=monday", "monday is not a date such as 2026-05-31"),
    ],
)
def test_wrong_words(lab: Lab, capsys: pytest.CaptureFixture[str], word: str, said: str) -> None:
    with pytest.raises(SystemExit) as raised:
        lab.asks(word)
    assert raised.value.code == 2
    assert said in capsys.readouterr().err


def test_the_help_has_examples_and_exit_codes(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        lab.asks("--help")
    text = capsys.readouterr().out
    assert "examples:\n  tierlab regressions --by browser" in text
    assert "  3  with --strict" in text
