"""What `tierlab accuracy` and `tierlab calibrate` do with observations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from results.errors import StoreError
from results.evaluation.bounds import broken, percent, words
from results.evaluation.evaluate import By, evaluate, foretell_all, group_of
from results.evaluation.printing import markdown, print_evaluation, write_markdown
from results.features.history import history
from results.files import replaced
from results.learning import fit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from results.calibration import Calibration, Fit
    from results.evaluation.evaluate import Forecasts
    from results.evaluation.figures import Evaluation
    from results.learning.fit import Beliefs
    from results.observation import Observation, Quantity

LEAST_TRIALS: Final = 10
"""Fewer trusted trials, and there is no calibration."""

_FOLDERS_NEXT: Final = (
    "  -> run more of them: tierlab lab-matrix, or give other files with --records"
)


def accuracy(
    console: Console,
    errors: Console,
    observations: Sequence[Observation],
    what: argparse.Namespace,
    beliefs: Beliefs | None = None,
) -> int:
    """Evaluate, print, write what is asked for, and give the exit code.

    Args:
        console: where the tables go.
        errors: where what does not hold is told.
        observations: of all trials.
        what: `by`, `json`, `markdown`, `pictures`, `check` and `history` of the command line.
        beliefs: factors of before any fit.

    Raises:
        StoreError: there is nothing to evaluate, or a file cannot be written.
    """
    if not any(o.trusted and o.measured for o in observations):
        raise StoreError(
            f"none of {len(observations)} trials can be judged: each needs a probe report and a"
            f" measurement that is trusted\n{_FOLDERS_NEXT}"
        )
    by = By(what.by)
    tested = foretell_all(observations, beliefs)
    evaluation = evaluate(tested, by, history(tested) if what.history else ())
    names = {group_of(o, by) for o in observations}
    print_evaluation(console, evaluation, names.__contains__)
    drawn = _draw(what.pictures, evaluation, tested) if what.pictures else []
    if what.json:
        _write(what.json, evaluation.model_dump_json(indent=1) + "\n")
    if what.markdown:
        shown = [(title, _beside(path, what.markdown)) for title, path in drawn]
        write_markdown(what.markdown, markdown(evaluation, names.__contains__, shown))
    if not what.check:
        return 0
    wrong = broken(evaluation)
    for bound in wrong:
        errors.print(
            f"does not hold: {bound.name}: {bound.found}, must be {bound.must}",
            style="red",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    return 1 if wrong else 0


def _draw(folder: Path, evaluation: Evaluation, tested: Forecasts) -> list[tuple[str, Path]]:
    """The pictures as files; title and path of each."""
    try:
        from results.evaluation.charts import pictures  # noqa: PLC0415 - not in every set-up
        from results.site.drawing import Drawer  # noqa: PLC0415 - as above
    except ImportError as error:
        raise StoreError(
            f"pictures cannot be drawn: {error.name} is not installed\n"
            "  -> pip install 'tierlab[site]', or leave --pictures away"
        ) from error
    drawn = []
    with Drawer() as drawer:
        for name, (title, spec) in pictures(evaluation, tested.cases).items():
            svg = str(drawer.draw({"background": "white", **spec}, title))
            if svg.startswith("<svg"):
                drawn.append((title, folder / f"{name}.svg"))
                _write(drawn[-1][1], svg + "\n")
    return drawn


def _beside(path: Path, file: Path) -> str:
    """The address of a picture from a Markdown file."""
    return Path(os.path.relpath(path.resolve(), file.resolve().parent)).as_posix()


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error


def calibrate(
    console: Console,
    observations: Sequence[Observation],
    output: Path,
    beliefs: Beliefs | None = None,
) -> Calibration:
    """Fit, write the file and print the factors.

    Raises:
        StoreError: there are too few trials, or the file cannot be written.
    """
    trusted = [o for o in observations if o.trusted and o.measured]
    if len(trusted) < LEAST_TRIALS:
        raise StoreError(
            f"{len(trusted)} of {len(observations)} trials were measured and are trusted; a"
            f" calibration needs {LEAST_TRIALS} of them\n{_FOLDERS_NEXT}"
        )
    calibration = fit([o for o in observations if o.trusted], beliefs=beliefs)
    if not calibration.engines:
        raise StoreError(
            "no engine has three trials of two workloads or devices with everything that a fit"
            f" needs\n{_FOLDERS_NEXT}"
        )
    _write(output, calibration.model_dump_json(indent=1) + "\n")
    for recipe, fits in calibration.engines.items():
        console.print(factors_table(recipe, fits))
        console.print()
    of = calibration.training
    console.print(
        f"fitted from {of.trials} trials on {len(of.devices)} device classes, {len(of.models)}"
        f" models; written to {output}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return calibration


def factors_table(recipe: str, fits: Mapping[Quantity, Fit]) -> Table:
    """The factors of an engine; the errors are of devices left out. Fits 80 columns."""
    shown = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title=Text(recipe, style="bold"),
        title_justify="left",
    )
    shown.add_column("quantity")
    shown.add_column("factors", overflow="fold", min_width=20)
    for heading in ("trials", "devices", "error\nmedian", "\np90", "measured/\npredicted"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for quantity, found in fits.items():
        factors = ", ".join(
            f"{term} {factor:.3g}" for term, factor in found.factors.items() if factor
        )
        margin = f"; margin {found.margin:.3g}" if found.margin is not None else ""
        shown.add_row(
            words(quantity),
            Text(factors + margin),
            str(found.n),
            str(found.devices),
            percent(found.median_error),
            percent(found.p90_error),
            f"{found.low:.2f}-{found.high:.2f}",
        )
    return shown
