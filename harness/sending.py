"""Records on their way to InfluxDB while a run goes on: the pytest side of it.

Only the process that controls the run sends, whoever writes the records. Without an address
nothing is asked, started or said.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from results.influx.settings import TOKEN, MisconfiguredError, read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest.terminal import TerminalReporter

    from results.influx.courier import Courier
    from results.influx.settings import InfluxSettings

DEFAULT_LAST_SECONDS: Final = 10.0

# Who stops a run wants it to end.
_INTERRUPTED_SECONDS: Final = 1.0


def add_options(group: pytest.OptionGroup) -> None:
    """Add the options that name an InfluxDB."""
    add = group.addoption
    add(
        "--influx",
        metavar="URL",
        help="send records to this InfluxDB, e.g. http://localhost:8086; the token is in"
        " TIERLAB_INFLUX_TOKEN or in the file that TIERLAB_INFLUX_TOKEN_FILE names",
    )
    add("--influx-org", metavar="NAME", help="its organisation; InfluxDB 3 has none")
    add("--influx-bucket", metavar="NAME", help="its bucket or database (default: tierlab)")
    add(
        "--influx-wait",
        type=float,
        default=DEFAULT_LAST_SECONDS,
        metavar="SECONDS",
        help="how long to go on sending when the run is over (default: %(default)g)",
    )


def influx_settings(config: pytest.Config) -> InfluxSettings | None:
    """Where the records of this run go, or `None`.

    The token is taken out of the environment: no browser, engine or worker inherits it.

    Raises:
        pytest.UsageError: a setting cannot be used.
    """
    option = config.option
    try:
        return read_settings(
            os.environ, url=option.influx, org=option.influx_org, bucket=option.influx_bucket
        )
    except MisconfiguredError as error:
        raise pytest.UsageError(str(error)) from error
    finally:
        os.environ.pop(TOKEN, None)


def start_sending(config: pytest.Config, results: Path, settings: InfluxSettings) -> None:
    """Send what waits in a results folder, now and as records come, until the run ends."""
    # Imported here: most runs have no InfluxDB.
    from results.influx.courier import Courier  # noqa: PLC0415

    courier = Courier(results, settings)
    config.pluginmanager.register(_Sending(config, courier))
    courier.start()


class _Sending:
    """The hooks of a run that sends."""

    def __init__(self, config: pytest.Config, courier: Courier) -> None:
        self._config = config
        self._courier = courier

    def pytest_runtest_logfinish(self) -> None:
        """Say at once what has to be mended, and not when hours of trials are over."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and (news := self._courier.news()):
            reporter.ensure_newline()
            reporter.write_line(news, yellow=True)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(
        self, terminalreporter: TerminalReporter, exitstatus: pytest.ExitCode
    ) -> None:
        """Send the rest, and say what waits; behind everything else that is said of a run."""
        seconds: float = self._config.option.influx_wait
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            seconds = min(seconds, _INTERRUPTED_SECONDS)
        terminalreporter.ensure_newline()
        terminalreporter.write_line(self._courier.finish(seconds))

    def pytest_unconfigure(self) -> None:
        """Stop, where the run ended without a summary."""
        self._courier.stop()
