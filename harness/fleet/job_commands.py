"""`tierlab fleet job` and what goes with it: what a lab's Buildbot calls, on hosts and centrally.

They are commands like any other, so that a person can do by hand what the lab does by itself.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from harness.checkout import SUITES
from harness.errors import UserError, first_fault
from harness.fleet.say import say
from results.fleet.requests import Request, fulfilled
from results.store import FILE_NAME, Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001


# Where a worker tells its jobs that the results of its host are.
RESULTS: Final = "TIERLAB_RESULTS"

_JOB = """example:
  tierlab fleet plan --run-id R --models gemma-3-270m --json | head -1 > request.json
  tierlab fleet job --request "$(cat request.json)"

exit codes:
  0    every suite test passed
  1    a suite test failed: a statement about the device, which stands
  2-5  pytest could not run
  69   the device cannot be used now; nothing was begun
  75   nothing but faults of the lab's own: worth another try
  124  the deadline passed with something left undone"""


def add_commands(commands: Subparsers) -> None:
    """Add the commands; each sets `func`, which returns an exit code."""
    add = _command(commands, "job", _job, "run one requested trial on this host", _JOB)
    add.add_argument("--request", required=True, metavar="JSON", help="as `plan --json` prints it")
    add.add_argument("--serial", metavar="SERIAL", help="the phone, where several match")
    add.add_argument("--power-cycle", metavar="COMMAND", help="as --power-cycle of pytest suites")
    add.add_argument(
        "--suites", default="full_load", metavar="A,B", help="files of suites/ (default: full_load)"
    )
    for name in ("infra-retries", "failure-retries"):
        add.add_argument(f"--{name}", type=int, metavar="N", help=f"as --{name} of pytest suites")
    add.add_argument(
        "--deadline", type=float, metavar="SECONDS", help="how long it may take (default: no end)"
    )

    add = _command(
        commands, "wanted", _wanted, "say whether a request still needs a record (exit code 0) or"
        " has one (1)",
    )  # fmt: skip
    add.add_argument("request_id")

    add = _command(commands, "bundle", _bundle, "pack what the controller has not confirmed")
    add.add_argument("--to", type=Path, required=True, metavar="FILE", help="replaced when whole")

    add = _command(commands, "receive", _receive, "take up bundles of hosts, and remove them")
    add.add_argument("bundles", nargs="*", type=Path, help="none: only the journal")

    add = _command(
        commands, "confirm", _confirm, "note that a bundle arrived: it is not sent again"
    )
    add.add_argument("bundle_id")

    add = _command(commands, "versions", _versions, "print which versions a device has, as JSON")
    add.add_argument("--device", required=True, metavar="PROFILE")
    add.add_argument("--serial", metavar="SERIAL", help="the phone, where several match")

    add = _command(
        commands, "news", _news, "compare the versions of a device with what was seen last, and"
        " print the triggers: browser, runtime",
    )  # fmt: skip
    add.add_argument("profile")
    add.add_argument("versions", metavar="JSON", help="as `tierlab fleet versions` prints it")


def suite_files(suites: Iterable[str]) -> list[str]:
    """The files of suites, by their names in fleet.toml.

    Raises:
        UserError: there is none of that name.
    """
    files = [SUITES / f"test_{suite}.py" for suite in suites]
    for file in files:
        if file.parent != SUITES or not file.is_file():
            raise UserError(
                f"there is no suite {file.stem.removeprefix('test_')!r}", f"see {SUITES}"
            )
    return [str(file) for file in files]


def _command(
    commands: Subparsers, name: str, func: object, text: str, epilog: str = ""
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--results", type=Path, metavar="DIR",
        help=f"the results folder (default: {RESULTS}, or tierlab-results)",
    )  # fmt: skip
    parser.set_defaults(func=func)
    return parser


def _results(options: argparse.Namespace) -> Path:
    given: Path = options.results or Path(os.environ.get(RESULTS) or "tierlab-results")
    return given.absolute()


def _store(options: argparse.Namespace) -> Store:
    """The store of this host, which is not made.

    Raises:
        UserError: there is none.
    """
    folder = _results(options)
    if not (folder / FILE_NAME).is_file():
        raise UserError(f"{folder}: there are no results here", "choose another --results")
    return Store.open(folder)


def _job(options: argparse.Namespace) -> int:
    from harness.fleet.job import Job, run_job  # noqa: PLC0415 - the devices

    try:
        request = Request.model_validate_json(options.request)
    except ValidationError as error:
        raise UserError(
            f"--request is no request: {first_fault(error)}",
            "take a line of `tierlab fleet plan --json`",
        ) from error
    job = Job(
        request=request,
        results=_results(options),
        suites=suite_files(options.suites.split(",")),
        serial=options.serial,
        power_cycle=options.power_cycle,
        infra_retries=options.infra_retries,
        failure_retries=options.failure_retries,
        deadline_seconds=options.deadline,
    )
    return run_job(job, say)


def _wanted(options: argparse.Namespace) -> int:
    with _store(options) as store:
        record = fulfilled(store, options.request_id)
    if record is None:
        say(f"{options.request_id}: wanted")
        return 0
    say(f"{options.request_id}: has a record: {record.trial_id}: {record.verdict}")
    return 1


def _bundle(options: argparse.Namespace) -> int:
    from harness.fleet.delivery import pack  # noqa: PLC0415

    with Store.open(_results(options)) as store:
        bundle = pack(store, options.to)
    print(bundle.bundle_id)  # noqa: T201 - for `confirm`
    return 0


def _receive(options: argparse.Namespace) -> int:
    from harness.fleet.delivery import receive  # noqa: PLC0415

    with Store.open(_results(options)) as store:
        told, clean = receive(store, options.bundles)
    for line in told:
        say(line)
    return 0 if clean else 1


def _confirm(options: argparse.Namespace) -> int:
    from results.fleet.handover import confirm  # noqa: PLC0415

    with _store(options) as store:
        say(f"{options.bundle_id}: {confirm(store, options.bundle_id)} confirmed")
    return 0


def _versions(options: argparse.Namespace) -> int:
    from harness.fleet.versions import versions_of  # noqa: PLC0415 - the devices

    found = versions_of(options.device, options.serial, _results(options))
    print(found.model_dump_json())  # noqa: T201 - for `news`
    return 0


def _news(options: argparse.Namespace) -> int:
    from harness.fleet.versions import Versions, note_versions  # noqa: PLC0415

    try:
        versions = Versions.model_validate_json(options.versions)
    except ValidationError as error:
        raise UserError(
            f"these are no versions: {first_fault(error)}",
            "take what `tierlab fleet versions` prints",
        ) from error
    with Store.open(_results(options)) as store:
        print(json.dumps(note_versions(store, options.profile, versions)))  # noqa: T201
    return 0
