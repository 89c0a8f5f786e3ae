"""`python -m harness.fleet`: what a Buildbot calls with every job, without the rest of tierlab.

`tierlab fleet` has the same commands and more, but takes seconds of a slow host to start.
"""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from harness.errors import UserError
from harness.fleet import job_commands
from results.errors import StoreError


def main() -> int:
    """Run one command; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m harness.fleet", description=__doc__)
    job_commands.add_commands(parser.add_subparsers(metavar="COMMAND", required=True))
    options = parser.parse_args()
    try:
        code: int = options.func(options)
    except (UserError, StoreError) as error:
        Console(stderr=True).print(f"tierlab: {error}", style="red", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
