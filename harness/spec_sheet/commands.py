"""`tierlab predict`: without a device from its spec sheet, or from a saved probe report."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.emulation.limits import parse_bytes
from harness.errors import UserError
from harness.foresight import foresee
from harness.models import Workload, find_model
from harness.probe.predict import MemoryBudget
from harness.probe.report import parse_report
from harness.profiles import load_profiles, select
from harness.runtimes import RUNTIMES, find_runtime
from harness.spec_sheet.check import as_json, print_check
from harness.spec_sheet.engines import ENGINES, find_engine
from harness.spec_sheet.explain import explain, interval_of, short
from harness.spec_sheet.foresight import Asked, Foresight, Step, foresee_sheet
from harness.spec_sheet.model import shipped
from harness.spec_sheet.shapes import find_shape
from harness.spec_sheet.sheet import sheet_of
from results.observation import Quantity
from results.table import NOTHING, VERDICT_STYLE, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.probe.report import ProbeReport
    from harness.runtimes.base import Runtime
    from harness.spec_sheet.sheet import Sheet
    from results.record import Prediction

_EPILOG: Final = """\
examples:
  tierlab predict --device=galaxy-s24-ultra --model=gemma-3-1b-it
                                       every engine there, on processors and GPU, in a page or not
  tierlab predict --device=pixel6-pro --model=gemma-2b --runtime=litert-lm/gpu --explain
                                       one engine, and every term of its numbers
  tierlab predict --device=macbook-pro-m4-max --model=gemma-3-27b --json
  tierlab predict --report=report.json --model=gemma-2b --explain
                                       from a saved report of the probe, by fitted engine factors
  tierlab predict --check              how far spec sheets are off published figures, row by row

A spec sheet tells far less than a probe: see docs/spec-sheet.md for how far it is off.
"""
JSON_VERSION: Final = 1
# As a trial has them unless it is told otherwise.
PROMPT_TOKENS: Final = 256
OUTPUT_TOKENS: Final = 64


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `tierlab predict`."""
    parser = commands.add_parser(
        "predict",
        help="what a model will do on a device that is not here",
        description="Predicts tier, speeds and memory of a model, without a download: from a"
        " device's\nspec sheet, without the device, or from a saved report of the probe.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--device", metavar="PROFILE", help="id of a device profile")
    source.add_argument(
        "--report", type=Path, metavar="FILE", help="a report of the probe, as JSON"
    )
    source.add_argument(
        "--check", action="store_true", help="hold the model against published figures"
    )
    parser.add_argument("--model", help="id or alias of a model")
    parser.add_argument(
        "--quant", metavar="NAME", help="how weights are stored; default: each engine's"
    )
    parser.add_argument("--runtime", metavar="ID", help="one engine; default: all")
    parser.add_argument("--prompt-tokens", type=int, default=PROMPT_TOKENS, metavar="N")
    parser.add_argument("--output-tokens", type=int, default=OUTPUT_TOKENS, metavar="N")
    parser.add_argument("--memory", metavar="SIZE", help="what one app may use, such as 3GiB")
    parser.add_argument("--explain", action="store_true", help="every term, factor and step")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(func=_predict)


def _predict(options: argparse.Namespace) -> int:
    console = Console()
    if options.check:
        if options.json:
            _json({"version": JSON_VERSION, "figures": as_json(load_profiles())})
        else:
            print_check(console, load_profiles())
        return 0
    if not options.model:
        raise UserError("no model is named", "name one: --model=gemma-2b; see tierlab models")
    for name in ("prompt_tokens", "output_tokens"):
        if getattr(options, name) < 1:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option}={getattr(options, name)}: must be at least 1")
    if options.report:
        told, notes = _from_report(options), []
        where = str(options.report)
        model = find_model(options.model).id
    else:
        sheet = _sheet(options)
        told, notes = _from_sheet(options, sheet), _notes(sheet)
        where, model = sheet.device, find_shape(options.model).id
    if options.json:
        _json(_data(options, where, model, told, notes))
        return 0
    _print(console, options, f"{model} on {where}", told, notes)
    return 0


def _sheet(options: argparse.Namespace) -> Sheet:
    chosen = select(load_profiles(), [options.device])
    if len(chosen) != 1:
        raise UserError(
            f"--device={options.device} names {len(chosen)} profiles",
            "name one; see tierlab devices",
        )
    sheet = sheet_of(chosen[0])
    if options.memory:
        sheet = replace(sheet, budget=parse_bytes(options.memory), budget_source="--memory")
    return sheet


def _from_sheet(options: argparse.Namespace, sheet: Sheet) -> list[Foresight]:
    shape = find_shape(options.model)
    tokens = (options.prompt_tokens, options.output_tokens)
    if options.runtime:
        engines = [find_engine(options.runtime)]
    else:
        engines = [engine for engine in ENGINES.values() if sheet.kind in engine.kinds]
    return [
        foresee_sheet(
            sheet,
            Asked(shape, options.quant or engine.quantisations[0], *tokens),
            engine,
            shipped(),
        )
        for engine in engines
    ]


def _notes(sheet: Sheet) -> list[str]:
    """What to know of a sheet before its numbers are believed."""
    notes = []
    figures = {"bandwidth_gb_s", "gpu_gflops_f32", "cpu_gflops_f32", "memory"}
    if unsure := [key for key in sheet.unverified if key in figures]:
        notes.append(f"no source confirms {', '.join(unsure)} of the profile {sheet.device}")
    missing = [
        key
        for key, value in (
            ("bandwidth_gb_s", sheet.bandwidth),
            ("gpu_gflops_f32", sheet.gpu_flops),
            ("cpu_gflops_f32", sheet.cpu_flops),
        )
        if value is None
    ]
    if sheet.empty:
        notes.append(
            f"the profile {sheet.device} has no spec sheet: it is whatever machine this is;"
            f" measure it: tierlab run --device={sheet.device}"
        )
    elif missing:
        notes.append(
            f"the profile has no {', no '.join(missing)}: add what is known to"
            f" device_profiles/{sheet.device}.toml with its source, or measure the device and use"
            " --report"
        )
    return notes


def _from_report(options: argparse.Namespace) -> list[Foresight]:
    report = _read(options.report)
    budget = MemoryBudget(None)
    if options.memory:
        budget = MemoryBudget(parse_bytes(options.memory), "--memory")
    engines = [find_runtime(options.runtime)] if options.runtime else list(RUNTIMES.values())
    return [_told(report, engine, options, budget) for engine in engines]


def _told(
    report: ProbeReport, engine: Runtime, options: argparse.Namespace, budget: MemoryBudget
) -> Foresight:
    """What a report says of one engine, with the first of its quantisations that goes."""
    model = find_model(options.model)
    asked = [options.quant] if options.quant else engine.quantisations
    names = list(dict.fromkeys(engine.exact_quantisation(model, name) for name in asked))
    found: dict[str, Prediction] = {}
    for name in names:
        workload = Workload(
            model=model.id,
            quantisation=name,
            runtime=engine.id,
            prompt_tokens=options.prompt_tokens,
            output_tokens=options.output_tokens,
        )
        found[name] = foresee(report, workload, budget)
        if found[name].verdict != "unsupported":
            break
    name = next((n for n in found if found[n].verdict != "unsupported"), names[0])
    prediction = found[name]
    unknown = {}
    if prediction.verdict != "unsupported":
        unknown = {q: prediction.reason for q in Quantity if interval_of(prediction, q) is None}
    return Foresight(
        runtime=engine.id,
        quantisation=name,
        prediction=prediction,
        steps=_steps(prediction),
        unknown=unknown,
        calibrated=frozenset(Quantity) if prediction.calibrated else frozenset(),
    )


def _read(path: Path) -> ProbeReport:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {error.strerror}",
            "give a report of the probe: a page's `preflight`, or `probe` of a record",
        ) from error
    try:
        return parse_report(text)
    except UserError as error:
        raise UserError(f"{path}: {error.problem}", error.next_step) from error


def _steps(prediction: Prediction) -> tuple[Step, ...]:
    """The steps of a report's prediction, which tells its verdict and the reason of the last."""
    fine = Step("structure", "ok", "nothing that the engine needs is missing or too small")
    match prediction.verdict:
        case "unsupported":
            return (Step("structure", "no", prediction.reason),)
        case "oom":
            return fine, Step("memory", "no", prediction.reason)
        case "unknown":
            return fine, Step("memory and speed", "unknown", prediction.reason)
        case "ok":
            return fine, Step("memory", "ok", prediction.reason)


def _print(
    console: Console,
    options: argparse.Namespace,
    title: str,
    told: Sequence[Foresight],
    notes: Sequence[str],
) -> None:
    source = "a report of the probe" if options.report else "its spec sheet"
    _line(
        console,
        f"{title}, {options.prompt_tokens}+{options.output_tokens} tokens, from {source}",
    )
    console.print(_table(told))
    for reason in _reasons(told):
        _line(console, reason)
    if options.explain:
        for each in told:
            console.print()
            explain(console, each, _default(each))
    for note in notes:
        _line(console, f"note: {note}")
    if not options.explain:
        _line(console, "what each number adds up from: --explain")


def _default(told: Foresight) -> str:
    if told.prediction.calibrated:
        return "calibrated: fitted from trials (tierlab calibrate)"
    return "belief, in part or all: the engine's own factors; fit them: tierlab calibrate"


def _table(told: Sequence[Foresight]) -> Table:
    """An engine with its bounds in the line below; why one cannot is told under the table."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("engine", overflow="fold", min_width=16)
    shown.add_column("tier", no_wrap=True)
    for heading in ("decode\ntok/s", "prefill\ntok/s", "peak\nGB"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("factors", no_wrap=True)
    shown.add_column("verdict", no_wrap=True)
    for each in told:
        prediction = each.prediction
        shown.add_row(
            Text(plain(each.runtime) + "\n" + plain(each.quantisation)),
            str(prediction.tier or NOTHING),
            short(prediction.decode_tokens_per_s, Quantity.DECODE),
            short(prediction.prefill_tokens_per_s, Quantity.PREFILL),
            short(prediction.peak_memory_bytes, Quantity.MEMORY),
            _kind(each),
            Text(prediction.verdict, style=_style(prediction)),
        )
    return shown


def _kind(told: Foresight) -> str:
    if told.prediction.verdict == "unsupported" or not told.prediction.terms:
        return NOTHING
    return "fitted" if told.prediction.calibrated else "belief"


def _reasons(told: Sequence[Foresight]) -> list[str]:
    """Why not, or why not everything: engines that share a reason in one line."""
    engines: dict[str, list[str]] = {}
    for each in told:
        prediction = each.prediction
        if prediction.verdict != "ok" or prediction.tier is None:
            said = "" if prediction.verdict == "ok" else f"{prediction.verdict}: "
            engines.setdefault(said + prediction.reason, []).append(each.runtime)
    return [f"{', '.join(names)}: {reason}" for reason, names in engines.items()]


def _style(prediction: Prediction) -> str:
    styles = {str(verdict): style for verdict, style in VERDICT_STYLE.items()}
    return styles.get(prediction.verdict, "")


def _data(
    options: argparse.Namespace,
    where: str,
    model: str,
    told: Sequence[Foresight],
    notes: Sequence[str],
) -> dict[str, Any]:
    return {
        "version": JSON_VERSION,
        "report" if options.report else "device": where,
        "model": model,
        "prompt_tokens": options.prompt_tokens,
        "output_tokens": options.output_tokens,
        "notes": list(notes),
        "predictions": [
            {
                "runtime": each.runtime,
                "quantisation": each.quantisation,
                "prediction": each.prediction.model_dump(mode="json"),
                "steps": [
                    {"name": step.name, "outcome": step.outcome, "detail": step.detail}
                    for step in each.steps
                ],
                "factors": {str(key): value for key, value in each.factors.items()},
                "unknown": {str(key): value for key, value in each.unknown.items()},
            }
            for each in told
        ],
    }


def _json(data: object) -> None:
    print(json.dumps(data, indent=1))  # noqa: T201 - for a pipe: no colours, no wrapping


def _line(console: Console, text: str) -> None:
    console.print(plain(text), markup=False, highlight=False, soft_wrap=True)
