"""Random `kill -9` over runs on one host and over a lab of many; then everything is looked at.

    python -m benchmarks.kill_storm                        # 60 on one host, 40 in a lab
    python -m benchmarks.kill_storm --one-host 5 --fleet 0 --seed 3
    sudo python -m benchmarks.kill_storm --memory 10g --json storm.json

One host: `pytest suites -n auto` on two desktop profiles and a virtual phone. Killed are pytest,
its xdist workers, processes of the browser, the phone and the adb server; the run is gone on with
by its --run-id. A lab: a Buildbot master, two workers of desktops and one of a virtual phone.
Killed are also workers, master, jobs, and what hands a host's results over. What has ended is
started again, as its user or systemd would.

After each kill all stores are read. In the end no trial that was ever committed may be missing,
each request must be fulfilled exactly once, and after the next start nothing may be left: no
process, group, mount, lease, forward, temporary folder, half a file. Exit code 0 where all holds.

Everything runs in a group of its own with a memory limit, which takes root (see `tierlab.limits`).
The same seed gives the same plan; what it meets at that moment differs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.kill_storm.crowd import Crowd
from benchmarks.kill_storm.fleet import FleetScene
from benchmarks.kill_storm.ledger import Ledger
from benchmarks.kill_storm.one_host import OneHost
from benchmarks.kill_storm.plan import FLEET, ONE_HOST, plan
from benchmarks.kill_storm.report import Part, part, tables
from benchmarks.kill_storm.storm import storm
from harness.emulation.limits import Limits, find_limiter, parse_bytes
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
ONE: Final = "one-host"
MANY: Final = "lab"
_INSIDE: Final = "TIERLAB_KILL_STORM"
"""Set for the process that is in the group."""


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kill_storm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seed", type=int, default=1, help="of the plan (default: %(default)s)")
    add("--one-host", type=int, default=60, metavar="N", help="kills (default: %(default)s)")
    add("--fleet", type=int, default=40, metavar="N", help="kills (default: %(default)s)")
    add("--within", type=float, default=20.0, metavar="SECONDS",
        help="the longest time between two kills (default: %(default)g)")  # fmt: skip
    add("--minutes", type=float, default=30.0,
        help="no kill after so long, for each part (default: %(default)g)")  # fmt: skip
    add("--folder", type=Path, default=Path("/tmp/kill-storm/run"),  # noqa: S108 - stays to be read
        help="for everything; replaced, and kept at the end (default: %(default)s)")  # fmt: skip
    add("--memory", default="8g", help="limit for all of it (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write what came of it")
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def _in_a_group(options: argparse.Namespace) -> int:
    """Run this program again in a group with a limit, which ends with it."""
    state = options.folder.parent / "state-of-the-storm"
    os.environ["TIERLAB_STATE"] = str(state)
    limits = Limits(memory_bytes=parse_bytes(options.memory))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with find_limiter().scope("kill-storm", limits) as scope:
        words = [*scope.prefix, sys.executable, "-m", "benchmarks.kill_storm", *sys.argv[1:]]
        process = subprocess.Popen(words, env={**os.environ, _INSIDE: "1"})
        try:
            code = process.wait()
        except KeyboardInterrupt:
            code = 130  # what is inside the group ends with it
        if kills := scope.oom_kills():
            _say(f"the kernel killed {kills} processes for memory: give more by --memory")
    return code


def _part(options: argparse.Namespace, crowd: Crowd, name: str) -> Part:
    """One part of the storm, from its first kill to what is left of it."""
    one_host = name == ONE
    make, targets, count = (
        (OneHost, ONE_HOST, options.one_host) if one_host else (FleetScene, FLEET, options.fleet)
    )
    began, ledger = time.monotonic(), Ledger()
    scene: OneHost | FleetScene = make(options.folder / name, crowd, _say)
    try:
        deaths = storm(
            scene,
            crowd,
            plan(options.seed, targets, count, options.within),
            ledger,
            until=began + options.minutes * 60,
            say=_say,
        )
        _say("no more kills: the last run is to come to its end")
        scene.finish()
    finally:
        scene.close()
    seconds = time.monotonic() - began
    return part(name, scene, ledger, deaths, seconds=seconds, told=scene.told())


def _inside(options: argparse.Namespace) -> int:
    """The storm; 0 where all holds."""
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    crowd, parts = Crowd(), []
    for name, count in ((ONE, options.one_host), (MANY, options.fleet)):
        if count:
            parts.append(_part(options, crowd, name))
    document = {"seed": options.seed, "parts": [one.json() for one in parts]}
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for one in parts:
        for line in one.problems:
            _say(f"{one.name}: {line}")
    print(f"\n{tables(parts)}", flush=True)
    return 1 if any(one.problems or one.missed for one in parts) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it in a group with a limit."""
    options = _options(arguments)
    options.folder = options.folder.absolute()
    try:
        return _inside(options) if os.environ.get(_INSIDE) else _in_a_group(options)
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(main())
