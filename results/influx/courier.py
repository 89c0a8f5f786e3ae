"""Delivery beside a run: a thread that sends to InfluxDB what the trials leave in the outbox.

Nothing that happens in it fails a trial or the run, and it leaves the processor to them: numbers
are measured meanwhile.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from results.influx.client import Influx
from results.influx.delivery import (
    LINES_A_REQUEST,
    Progress,
    Sender,
    outbox_gauge,
    record_lines,
    send_command,
    summary,
)
from results.influx.outbox import count, has_more_than
from results.influx.settings import InfluxError, MisconfiguredError
from results.store import Store, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from results.influx.settings import InfluxSettings

SHARE_OF_A_CORE: Final = 0.05
"""How much of a core's time sending takes at most while trials are measured."""

LINES_DURING_A_RUN: Final = 500
"""So many lines a request meanwhile; they take some hundredths of a second to make."""

LOOK_SECONDS: Final = 1.0
"""How often an empty outbox is looked into."""

# Once the last trial is over: how long it sleeps at most between two tries.
_LAST_WAIT_SECONDS: Final = 1.0


class Courier:
    """Delivers while a run goes on, in a thread of its own; nothing that it does can fail the run.

    While trials are measured it takes `SHARE_OF_A_CORE` at most.

    Args:
        results: the results folder of the run.
        settings: which InfluxDB.
    """

    def __init__(self, results: Path, settings: InfluxSettings) -> None:
        # In the caller's thread: what an import warns of would hit a test at random.
        self._lines_of = record_lines()
        self._results = results
        self._settings = settings
        self._progress = Progress()
        self._sender: Sender | None = None
        self._ending = threading.Event()
        self._stopped = threading.Event()
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="tierlab-courier", daemon=True)
        self._misconfigured: MisconfiguredError | None = None
        self._told = False
        self._fault: str | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def news(self) -> str | None:
        """What has to be mended before anything can be delivered; told once."""
        if self._misconfigured is None or self._told:
            return None
        self._told = True
        return f"InfluxDB: nothing is delivered: {self._misconfigured}"

    def finish(self, seconds: float) -> str:
        """Give it so many seconds to deliver the rest; what to say of it, in one line.

        Ctrl-C ends the wait.
        """
        self._deadline = time.monotonic() + seconds
        self._ending.set()
        try:
            self._thread.join(seconds)
        except KeyboardInterrupt:
            seconds = 0.0
        self._stopped.set()
        counts, problem = None, self._problem()
        try:
            with Store.open(self._results) as store:
                counts = count(store)
        except StoreError as error:
            problem = str(error)
        if self._thread.is_alive() and not problem:
            problem = f"{self._settings.url} took more than the {seconds:g} s that it was given"
        go_on = send_command(self._results, self._settings)
        return summary(self._progress, counts, problem, go_on)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped.set()
        self._ending.set()

    def _problem(self) -> str | None:
        if self._misconfigured is not None:
            return f"{self._misconfigured.problem}; {self._misconfigured.next_step}"
        return self._fault or self._progress.problem

    def _run(self) -> None:
        try:
            with Store.open(self._results) as store, Influx(self._settings) as influx:
                self._deliver(store, influx)
        except MisconfiguredError as error:
            self._misconfigured = error
        except (StoreError, InfluxError) as error:
            self._fault = str(error)
        except Exception as error:  # noqa: BLE001 - a fault in here is no fault of the run
            text = self._settings.without_token(f"{type(error).__name__}: {error}")
            self._fault = f"a fault of the sender's own: {text}"

    def _deliver(self, store: Store, influx: Influx) -> None:
        sender = Sender(
            store,
            influx,
            self._lines_of,
            pause=self._pause,
            rest=self._rest,
            gauge=outbox_gauge,
            most=LINES_DURING_A_RUN,
        )
        self._sender, self._progress = sender, sender.progress
        while True:
            last = self._ending.is_set()
            sender.send()
            if last or self._stopped.is_set():
                return
            while not has_more_than(store, len(self._progress.unreadable)):
                if self._ending.wait(LOOK_SECONDS):
                    break

    def _rest(self, busy_seconds: float) -> bool:
        """Leave the processor to the trials, while there are any."""
        if self._ending.wait(busy_seconds * (1 / SHARE_OF_A_CORE - 1)) and self._sender:
            self._sender.most = LINES_A_REQUEST
        return not self._stopped.is_set()

    def _pause(self, seconds: float, *, asked: bool, failing_seconds: float) -> bool:
        """While the run goes on: the whole wait. At its end: shorter ones, and not for long."""
        del failing_seconds
        until = time.monotonic() + seconds
        if not self._ending.wait(seconds):
            return True
        now = time.monotonic()
        rest = max(0.0, until - now) if asked else min(max(0.0, until - now), _LAST_WAIT_SECONDS)
        if now + rest > self._deadline:
            return False
        return not self._stopped.wait(rest)
