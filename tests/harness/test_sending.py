"""A run that sends to InfluxDB: what it says, and that it stays what it was."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from results.store import FILE_NAME
from tests.harness.test_plugin import (
    Suites,
    a_browser,  # noqa: F401 - a fixture
    own_places,  # noqa: F401 - a fixture
    refusal,
)
from tests.results.influx.influxd import HANG, ORG, TOKEN, influx_fixture  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.results.influx.influxd import Influx

pytest_plugins = ("pytester",)

# A suite that stores a record a test, as trials do.
RECORDING = """
import os, sys, threading
from pathlib import Path
import pytest
from harness.plugin import PLAN, RUN_ID
from results.store import Store
from tests.results.influx.test_delivery import trial

@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a(profile, name, request):
    config = request.config
    with Store.open(config.stash[PLAN].settings.trial.results) as store:
        found = trial(f"{profile.id}-{name}")
        store.add(found.model_copy(update={"run_id": config.stash[RUN_ID]}))
    assert "TIERLAB_INFLUX_TOKEN" not in os.environ
    if hasattr(config, "workerinput"):
        assert not [it for it in threading.enumerate() if it.name == "tierlab-courier"]
"""


@pytest.fixture(name="suites")
def made_suites(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suites:
    return Suites(pytester, monkeypatch)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of a user who has an InfluxDB."""
    monkeypatch.setenv("TIERLAB_INFLUX_TOKEN", TOKEN)
    monkeypatch.setenv("TIERLAB_INFLUX_ORG", ORG)


def arrived(influx: Influx) -> list[str]:
    rows = influx.query('SELECT "trial_id" FROM "trial"')
    return sorted(row["trial_id"] for row in rows)


def last_line(result: pytest.RunResult) -> str:
    """What was said of InfluxDB at the end."""
    (line,) = [line for line in result.outlines if line.startswith("InfluxDB: ")]
    return line


def test_without_an_address_nothing_is_started_or_said(suites: Suites) -> None:
    result = suites.by_workers(
        "import sys, threading\n"
        "def test_a(profile):\n"
        "    assert threading.active_count() == 1\n"
        "    assert 'influxdb_client' not in sys.modules\n",
    )
    result.assert_outcomes(passed=1)
    assert "InfluxDB" not in result.stdout.str()


@pytest.mark.integration
@pytest.mark.usefixtures("here", "a_browser")
def test_records_are_sent_beside_the_run(suites: Suites, influx: Influx) -> None:
    result = suites.made(RECORDING, f"--influx={influx.url}")
    result.assert_outcomes(passed=3)
    assert last_line(result) == "InfluxDB: 3 records delivered"
    assert arrived(influx) == ["desktop-a", "desktop-b", "desktop-c"]


@pytest.mark.integration
@pytest.mark.usefixtures("here", "a_browser")
def test_one_process_sends_for_all_workers(suites: Suites, influx: Influx) -> None:
    result = suites.by_workers(
        RECORDING, "-n", "2", "--device=desktop,desktop-1g", f"--influx={influx.url}"
    )
    result.assert_outcomes(passed=6)
    assert last_line(result) == "InfluxDB: 6 records delivered"
    assert len(arrived(influx)) == 6


@pytest.mark.integration
@pytest.mark.usefixtures("here", "a_browser")
def test_a_run_stays_green_where_influxdb_is_down(suites: Suites, influx: Influx) -> None:
    influx.influxd.kill()
    result = suites.made(RECORDING, f"--influx={influx.url}", "--influx-wait=0.1")
    result.assert_outcomes(passed=3)
    assert result.ret == pytest.ExitCode.OK
    results = suites.pytester.path / "tierlab-results"
    assert last_line(result) == (
        f"InfluxDB: 3 records wait: {influx.url}: the connection broke off; go on with:"
        f" tierlab outbox send --results {results} --influx {influx.url} --influx-org {ORG}"
    )


@pytest.mark.integration
@pytest.mark.usefixtures("here", "a_browser")
def test_a_run_ends_in_time_where_influxdb_hangs(suites: Suites, influx: Influx) -> None:
    influx.front.always = HANG
    result = suites.made(RECORDING, f"--influx={influx.url}", "--influx-wait=0.1")
    assert result.ret == pytest.ExitCode.OK
    assert "3 records wait" in last_line(result)


@pytest.mark.integration
@pytest.mark.usefixtures("here", "a_browser")
def test_what_has_to_be_mended_is_said_while_the_run_goes_on(
    suites: Suites, influx: Influx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERLAB_INFLUX_TOKEN", "another-token")
    waiting = (
        "import threading\n"
        "def test_b(profile):\n"
        "    for thread in threading.enumerate():\n"
        "        if thread.name == 'tierlab-courier': thread.join(30)\n"
    )
    suite = RECORDING + waiting + "def test_c(profile): pass\n"
    result = suites.made(suite, f"--influx={influx.url}", "-v")
    result.assert_outcomes(passed=5)
    lines = result.outlines
    news = [n for n, line in enumerate(lines) if line.startswith("InfluxDB: nothing is delivered")]
    assert len(news) == 1
    assert "refuses the token (401: unauthorized access)" in lines[news[0]]
    assert lines[news[0] + 1].startswith("  -> set TIERLAB_INFLUX_TOKEN")
    assert any("test_c" in line for line in lines[news[0] :])
    assert any("3 records wait: InfluxDB at" in line for line in lines[news[0] + 1 :])


@pytest.mark.integration
@pytest.mark.usefixtures("here", "a_browser")
def test_the_exit_code_is_that_of_the_tests(suites: Suites, influx: Influx) -> None:
    failing = RECORDING + "def test_b(profile): assert False\n"
    result = suites.made(failing, f"--influx={influx.url}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert last_line(result) == "InfluxDB: 3 records delivered"


@pytest.mark.integration
@pytest.mark.usefixtures("here", "a_browser")
def test_an_interrupted_run_says_what_waits(suites: Suites, influx: Influx) -> None:
    influx.influxd.kill()
    interrupted = RECORDING + "def test_b(profile): raise KeyboardInterrupt\n"
    result = suites.by_workers(interrupted, f"--influx={influx.url}")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "3 records wait" in last_line(result)


@pytest.mark.integration
@pytest.mark.usefixtures("here", "a_browser")
def test_to_collect_is_not_to_send(suites: Suites, influx: Influx) -> None:
    result = suites.made(RECORDING, f"--influx={influx.url}", "--collect-only")
    assert result.ret == pytest.ExitCode.OK
    assert not influx.front.asked.is_set()


# ---- settings that cannot be used ----


@pytest.mark.usefixtures("a_browser")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--influx=localhost:8086"], "--influx: 'localhost:8086' is no address of an InfluxDB"),
        (["--influx=http://me:hidden@host"], "--influx: the address holds a user name or passw"),
        (["--influx-bucket=b"], "--influx-bucket is given, but no address of an InfluxDB"),
        (["--influx=http://host", "--influx-wait=0"], "--influx-wait=0 must be above 0, and fin"),
        (["--influx=http://host", "--influx-wait=inf"], "--influx-wait=inf must be above 0, and"),
    ],
)
def test_a_setting_that_cannot_be_used_ends_the_run_at_once(
    suites: Suites, options: list[str], message: str
) -> None:
    result = suites.made(RECORDING, *options)
    assert refusal(result).startswith(message)
    assert "hidden" not in result.stdout.str() + result.stderr.str()
    assert not (suites.pytester.path / "tierlab-results" / FILE_NAME).exists()


@pytest.mark.usefixtures("a_browser")
def test_a_file_of_a_token_that_others_can_read(
    suites: Suites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o644)
    monkeypatch.setenv("TIERLAB_INFLUX_TOKEN_FILE", str(token))
    message = refusal(suites.made(RECORDING, "--influx=http://host"))
    assert message.endswith(f"(0644)\n  -> chmod 600 {token}")


# ---- the token ----

SPYING = """
import os, subprocess, sys
def test_b(profile):
    inherited = subprocess.run([sys.executable, "-c", "import os; print(dict(os.environ))"],
                               capture_output=True, text=True).stdout
    processes = subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout
    with open("seen", "a") as file:
        file.write(f"{inherited} {processes} {dict(os.environ)} {sys.argv}")
"""


@pytest.mark.integration
@pytest.mark.usefixtures("here", "a_browser")
def test_the_token_is_nowhere(suites: Suites, influx: Influx) -> None:
    """Not in what is said or logged, in no file, in no other process."""
    failing = RECORDING + SPYING + "def test_c(profile): assert profile is None\n"
    result = suites.by_workers(
        failing, f"--influx={influx.url}", "--log-level=DEBUG", "--log-file=log",
        "--log-file-level=DEBUG", "-rA", "-vv", "--showlocals",
    )  # fmt: skip
    assert last_line(result) == "InfluxDB: 3 records delivered"
    folder = suites.pytester.path
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {"seen", "log", FILE_NAME} <= names
    for path in folder.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in result.stdout.str() + result.stderr.str()
    with sqlite3.connect(folder / "tierlab-results" / FILE_NAME) as connection:
        ((told,),) = connection.execute("SELECT command FROM runs").fetchall()
    connection.close()
    assert influx.url in told
