"""The configuration of a master: what Buildbot is told, and what its steps decide."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from buildbot.config import ConfigErrors

from harness.errors import UserError
from harness.fleet.buildbot import master
from harness.fleet.buildbot.desk import Desk, shared
from harness.fleet.buildbot.job_steps import job_words, judged
from harness.fleet.buildbot.master import configuration, may_start
from harness.fleet.buildbot.news_steps import due_schedules
from harness.fleet.buildbot.plan_steps import job_request, new_run_id
from harness.fleet.buildbot.web import web
from harness.fleet.config import Controller
from harness.fleet.exit_codes import Exit
from harness.fleet.loading import load_fleet
from harness.fleet.master_folder import write_master
from harness.fleet.secret import PASSWORD, WEB_PASSWORD
from harness.fleet.tries import Outcome, Try
from tests.harness.fleet.asked import request
from tests.harness.fleet.test_config import GOOD, written

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "correct-horse-battery"  # noqa: S105 - of a test


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a master of a lab of three devices."""
    for name in (PASSWORD, f"{PASSWORD}_FILE", WEB_PASSWORD, f"{WEB_PASSWORD}_FILE"):
        monkeypatch.delenv(name, raising=False)
    master.worker_password.cache_clear()
    write_master(load_fleet(written(tmp_path, GOOD)), tmp_path / "master")
    return tmp_path / "master"


def test_a_worker_a_device_and_a_builder_a_profile(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, SECRET)
    told = configuration(str(folder))
    workers = {worker.name: worker for worker in told["workers"]}
    assert set(workers) == {"pixel7-a", "pixel7-b", "s24", "controller"}
    assert workers["pixel7-a"].max_builds == 1
    assert workers["pixel7-a"].properties["hub"] == "1-1"
    builders = {builder.name: builder for builder in told["builders"]}
    assert builders["pixel7"].workernames == ["pixel7-a", "pixel7-b"]
    assert builders["collect-lab-1"].workernames == ["pixel7-a", "s24"]
    assert {"plan", "galaxy-s24", "news-pixel7"} <= set(builders)
    assert told["collapseRequests"] is False
    assert builders["pixel7"].collapseRequests is None
    schedulers = {one.name for one in told["schedulers"]}
    assert {"smoke", "weekly", "start", "every-news-pixel7"} <= schedulers
    assert told["www"]["port"] == "tcp:8010:interface=127.0.0.1"
    assert told["protocols"]["pb"]["port"] == "tcp:9989:interface=127.0.0.1"
    assert told["buildbotNetUsageData"] is None
    # As after `buildbot reconfig`, when the secret has left the environment.
    assert len(configuration(str(folder))["workers"]) == 4


def test_records_are_sent_on_where_there_is_an_influxdb(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def services() -> list[str]:
        return [one.name for one in configuration(str(folder))["services"]]

    monkeypatch.setenv(PASSWORD, SECRET)
    assert services() == ["tierlab-journal"]
    monkeypatch.setenv("TIERLAB_INFLUX_URL", "http://127.0.0.1:8086")
    assert services() == ["tierlab-journal", "tierlab-influxdb"]


def test_without_a_password_there_is_no_master(folder: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        configuration(str(folder))
    assert "TIERLAB_FLEET_PASSWORD" in str(caught.value.errors)


def test_a_page_for_others_needs_a_password() -> None:
    assert "auth" not in web(Controller(), None, None)
    with pytest.raises(UserError, match="has no password"):
        web(Controller(web_bind="0.0.0.0"), "operator", None)  # noqa: S104 - refused
    page = web(Controller(web_bind="0.0.0.0"), "operator", SECRET)  # noqa: S104 - with a password
    assert {"auth", "authz"} <= set(page)
    assert web(Controller(web_bind="::1"), None, None)["port"] == "tcp:8010:interface=\\:\\:1"


@pytest.mark.parametrize(
    ("code", "recorded", "outcome"),
    [
        (Exit.OK, True, Outcome.DONE),
        (Exit.FAILED, True, Outcome.DONE),
        (Exit.OK, False, Outcome.INFRA),
        (Exit.FAILED, False, Outcome.INFRA),
        (Exit.LAB_FAULT, False, Outcome.INFRA),
        (Exit.LAB_FAULT, True, Outcome.DONE),
        (Exit.UNAVAILABLE, False, Outcome.UNAVAILABLE),
        (Exit.DEADLINE, False, Outcome.DEADLINE),
        (4, False, Outcome.GIVEN_UP),
        (5, False, Outcome.GIVEN_UP),
        (2, False, Outcome.INFRA),
        (137, False, Outcome.INFRA),
        (-1, False, Outcome.INFRA),
        (137, True, Outcome.DONE),
    ],
)
def test_what_an_exit_code_means(code: int, *, recorded: bool, outcome: Outcome) -> None:
    assert judged(code, recorded=recorded, needs_record=True)[0] is outcome


def test_suites_that_make_no_record_need_none() -> None:
    assert judged(Exit.OK, recorded=False, needs_record=False)[0] is Outcome.DONE
    assert judged(Exit.LAB_FAULT, recorded=False, needs_record=False)[0] is Outcome.INFRA


def test_the_command_of_a_job_names_the_device(tmp_path: Path) -> None:
    fleet = load_fleet(written(tmp_path, GOOD))
    words = job_words("{}", "full_load", fleet.device("pixel7-a"), fleet, 59.6)
    assert words[3:] == [
        "job", "--request={}", "--suites=full_load", "--failure-retries=0",
        "--serial=2B181FDH2000VD", "--power-cycle=uhubctl -l 1-1 -p 2 -a cycle", "--deadline=60",
    ]  # fmt: skip
    assert len(job_words("{}", "x", fleet.device("s24"), fleet, None)) == 7


def worker(name: str, *, connected: bool = True, resting: bool = False) -> Any:
    one = SimpleNamespace(
        workername=name,
        conn=connected or None,
        quarantine_timer="a rest" if resting else None,
        isPaused=lambda: False,
    )
    return SimpleNamespace(worker=one)


@pytest.mark.parametrize(
    ("other", "may"),
    [
        (worker("pixel7-b"), False),
        (worker("pixel7-b", connected=False), True),
        (worker("pixel7-b", resting=True), True),
        (SimpleNamespace(worker=None), True),
        (worker("pixel7-c"), True),
    ],
)
def test_a_job_goes_to_another_device_while_there_is_one(
    folder: Path, other: Any, *, may: bool
) -> None:
    desk = Desk.open(folder)
    mine = worker("pixel7-a")
    asked = SimpleNamespace(properties=SimpleNamespace(getProperty=lambda *_: "job-1"))
    builder = SimpleNamespace(workers=[mine, other])
    assert may_start(desk, builder, mine, asked)
    for name in ("pixel7-a", "pixel7-c"):
        one = Try(request(), "job-1", f"try on {name}", name, "here")
        desk.write(one.began(1))
        desk.write(one.ended(Outcome.INFRA, "lost"))
    assert may_start(desk, builder, mine, asked) is may
    shared.cache_clear()  # as in another process
    assert may_start(Desk.open(folder), builder, mine, asked) is may, "a master that starts again"


def test_the_name_of_a_run_follows_from_what_asked_for_it() -> None:
    assert new_run_id("smoke", 1_764_122_400, 12) == "smoke-20251126T020000-12"
    assert new_run_id("", 1_764_122_400, 13) == "by-hand-20251126T020000-13"
    assert job_request("abc.12") == "abc"
    assert job_request(None) == ""


def test_what_is_new_starts_what_waits_for_it(tmp_path: Path) -> None:
    fleet = load_fleet(written(tmp_path, GOOD))
    assert due_schedules(fleet, "pixel7", {"browser"}) == ["smoke"]
    assert due_schedules(fleet, "pixel7", set()) == []
    assert due_schedules(fleet, "pixel8", {"browser"}) == []
