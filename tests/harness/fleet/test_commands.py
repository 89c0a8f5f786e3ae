"""`tierlab fleet`: what a person types."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from harness.cli import _parser, main
from harness.errors import UserError
from harness.fleet.commands import run_command
from harness.fleet.loading import load_fleet
from harness.fleet.master_folder import empty_spool, write_master
from harness.fleet.worker import worker_settings
from results.fleet.requests import requests
from results.store import Store
from tests.harness.fleet.test_config import GOOD, written

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 26, 2, 0, tzinfo=UTC)


def test_check_says_what_would_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, GOOD)
    assert main(["fleet", "check", "--config", str(file)]) == 0
    said = capsys.readouterr().out
    assert "sound: 3 devices of 2 profiles on 2 hosts" in said
    assert "smoke: every day at 02:00; a new browser; a new runtime: 2 profiles x 2 " in said


def test_check_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, GOOD.replace("galaxy-s24", "galaxi-s24"))
    assert main(["fleet", "check", "--config", str(file)]) == 1
    assert "did you mean galaxy-s24" in capsys.readouterr().err.replace("\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [(["job", "--request", "{}"], "--request is no request: run_id: Field required\n"),
     (["job", "--request", "garbage"], "--request is no request: the text: Invalid JSON"),
     (["news", "pixel7", "[]"], "these are no versions: the text: Input should be an object")],
)  # fmt: skip
def test_a_machine_that_speaks_garbage_is_answered_in_a_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", *words]) == 1
    assert capsys.readouterr().err.startswith(f"tierlab: {said}")


def test_one_host_runs_its_own_devices_as_one_run(tmp_path: Path) -> None:
    fleet = load_fleet(written(tmp_path, GOOD))
    words = ["fleet", "run", "--schedule", "smoke", "--host", "lab-1", "--", "--influx-wait=1"]
    command = run_command(_parser().parse_args(words), fleet, NOW)
    assert command[1:3] == ["-m", "pytest"]
    assert command[3].endswith("suites/test_full_load.py")
    for word in (
        "--device=pixel7,galaxy-s24", "--run-id=smoke-20261126T020000", "--deadline=18000s",
        f"--results={tmp_path}/results", "--infra-retries=1", "-n", "auto", "--influx-wait=1",
    ):  # fmt: skip
        assert word in command, word


def test_a_host_without_a_device_of_the_schedule_is_said(tmp_path: Path) -> None:
    fleet = load_fleet(written(tmp_path, GOOD))
    words = ["fleet", "run", "--schedule", "weekly", "--host", "lab-9"]
    with pytest.raises(UserError, match="one of: lab-1, lab-2"):
        run_command(_parser().parse_args(words), fleet, NOW)


def test_a_plan_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fleet", "plan", "--config", str(written(tmp_path, GOOD)), "--run-id", "run-1"]
    assert main([*words, "--schedule", "smoke", "--dry-run"]) == 0
    assert main([*words, "--schedule", "smoke", "--devices", "pixel7", "--json"]) == 0
    assert main([*words, "--schedule", "smoke"]) == 0
    assert "4 trials asked for, 2 of them new" in capsys.readouterr().out
    with Store.open(tmp_path / "results") as store:
        assert len(requests(store, "run-1")) == 4
    assert main(words) == 1
    assert "it is not said what to run" in capsys.readouterr().err
    assert main([*words, "--schedule", "smoke", "--devices", "ipad*"]) == 1


def test_the_master_gets_a_folder_without_secrets(tmp_path: Path) -> None:
    fleet = load_fleet(written(tmp_path, GOOD))
    write_master(fleet, tmp_path / "master")
    assert {path.name for path in (tmp_path / "master").iterdir()} == {
        "fleet.json", "master.cfg", "buildbot.tac"
    }  # fmt: skip
    assert load_fleet(tmp_path / "master" / "fleet.json") == fleet
    (tmp_path / "master" / "fleet.json").write_text("{}")
    with pytest.raises(UserError, match="write it again"):
        load_fleet(tmp_path / "master" / "fleet.json")


def test_what_arrived_at_a_killed_master_is_removed_before_the_next_start(tmp_path: Path) -> None:
    assert empty_spool(tmp_path) == 0
    (tmp_path / "spool").mkdir()
    for name in ("a-1.tar.gz", "buildbot-transfer-x1y2", "a-2.tar.gz.broken"):
        (tmp_path / "spool" / name).touch()
    assert empty_spool(tmp_path) == 2
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["a-2.tar.gz.broken"]


def test_a_worker_is_told_where_its_master_is(tmp_path: Path) -> None:
    words = ["fleet", "worker", "--name", "pixel7-a", "--base", str(tmp_path / "base")]
    secret = {"TIERLAB_FLEET_PASSWORD": "correct-horse-battery"}
    config = ["--config", str(written(tmp_path, GOOD))]
    settings = worker_settings(_parser().parse_args([*words, *config]), dict(secret))
    assert (settings.host, settings.port, settings.lost_after) == ("lab-controller", 9989, 45)
    assert "horse" not in repr(settings)
    given = [*words, "--controller", "[::1]:1234", "--lost-after", "20s"]
    settings = worker_settings(_parser().parse_args(given), dict(secret))
    assert (settings.host, settings.port, settings.lost_after) == ("::1", 1234, 20)
    for wrong in ([], ["--controller", "lab"], ["--controller", "lab:0"]):
        with pytest.raises(UserError):
            worker_settings(_parser().parse_args([*words, *wrong]), dict(secret))
