"""A and B in turns: two browsers, or two versions of a runtime's npm package, on one device.

`--ab browser=A,B` or `--ab runtime=A,B`. What is compared is decided here; the comparison itself
is made from the records (`results.regressions.ab`).
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from harness.devices.browsers import read_version
from harness.errors import UserError
from harness.packages import NODE_MODULES, packages_from
from harness.runtimes import find_runtime
from results.regressions.ab import Mark
from results.regressions.statistics import more_pairs_needed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.models import Workload

FORMS: Final = "--ab browser=COMMAND,COMMAND or --ab runtime=FOLDER,FOLDER"
LEAST_ROUNDS: Final = more_pairs_needed(0)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a trial is run with in place of what is installed.

    Attributes:
        browser: the executable to start; None: the one that the profile finds.
        node_modules: where the engines of pages come from.
        mark: what the record says of it.
    """

    browser: Path | None = None
    node_modules: Path = NODE_MODULES
    mark: Mark | None = None

    @property
    def label(self) -> str:
        """What tells it from another one, in a word or two; empty: nothing, all is as installed."""
        if self.mark is not None:
            return f"{self.mark.by}-{self.mark.side}-{self.mark.round}"
        browser = f"browser={self.browser}" if self.browser else ""
        packages = f"packages={self.node_modules}" if self.node_modules != NODE_MODULES else ""
        return f"{browser} {packages}".strip()


AS_INSTALLED: Final = Setup()


@dataclass(frozen=True, slots=True)
class AbPlan:
    """What is compared, and how often.

    Attributes:
        a: a browser's executable, or a folder of npm packages.
        b: the other.
        rounds: in each of them both are tried once.
        tolerance: how large a difference is of no interest, as a share.
    """

    by: Literal["browser", "runtime"]
    a: Path
    b: Path
    rounds: int
    tolerance: float

    def turns(self) -> Iterator[Setup]:
        """The setups in their order: A B, B A, A B, ... so that a drift favours neither."""
        for number in range(self.rounds):
            pair = self._setup("A", number), self._setup("B", number)
            yield from reversed(pair) if number % 2 else pair

    def _setup(self, side: Literal["A", "B"], number: int) -> Setup:
        mark = Mark(by=self.by, side=side, round=number, tolerance=self.tolerance)
        path = self.a if side == "A" else self.b
        if self.by == "browser":
            return Setup(browser=path, mark=mark)
        return Setup(node_modules=path, mark=mark)


def plan_ab(
    asked: str, workloads: Iterable[Workload], *, rounds: int, tolerance_percent: float
) -> AbPlan:
    """What `--ab` asks for, checked before anything runs.

    Raises:
        UserError: it cannot be carried out; the message says why.
    """
    by, _, places = asked.partition("=")
    words = [word.strip() for word in places.split(",")]
    if by not in {"browser", "runtime"} or len(words) != 2 or not all(words):  # noqa: PLR2004
        raise UserError(f"--ab {asked!r} does not name two things of one kind", f"write {FORMS}")
    if rounds < LEAST_ROUNDS:
        raise UserError(
            f"--ab-rounds={rounds} is too few: they leave no 95 % interval",
            f"give at least {LEAST_ROUNDS}",
        )
    if not 0 < tolerance_percent < math.inf:
        raise UserError(f"--ab-tolerance={tolerance_percent:g} must be above 0, and finite")
    runtimes = list(dict.fromkeys(workload.runtime for workload in workloads))
    for name in runtimes:
        if find_runtime(name).backend == "native":
            raise UserError(
                f"--ab: {name} runs outside of browsers and is no npm package",
                "choose engines of pages with --runtime",
            )
    tolerance = tolerance_percent / 100
    if by == "browser":
        a, b = (_browser(word) for word in words)
        return AbPlan("browser", a, b, rounds, tolerance)
    a, b = (_packages(word, runtimes) for word in words)
    return AbPlan("runtime", a, b, rounds, tolerance)


def _browser(word: str) -> Path:
    found = shutil.which(word)
    if found is None:
        raise UserError(
            f"--ab: {word} is no executable", "give a browser's path, or a command of the PATH"
        )
    path = Path(found).absolute()
    if not read_version(path):
        raise UserError(
            f"--ab: {path} does not tell its version when it is started with --version",
            'a script around a browser passes its arguments on: exec BROWSER "$@"',
        )
    return path


def _packages(word: str, runtimes: Iterable[str]) -> Path:
    folder = Path(word).absolute()
    if (folder / "node_modules").is_dir():
        folder /= "node_modules"
    for name in runtimes:
        with packages_from(folder):
            reason = find_runtime(name).missing()
        if reason is not None:
            problem = reason.splitlines()[0]
            raise UserError(
                f"--ab: {word} has no {name}: {problem}",
                f"npm install --prefix {word} PACKAGE@VERSION",
            )
    return folder
