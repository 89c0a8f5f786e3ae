"""Fits the factors of the spec-sheet model to the published figures: `python -m` this module.

Robust, as single rows are far off (a flagship's GPU at one token a second): absolute errors of
logarithms are least, and each pair of device and model weighs the same however many rows it has.
Few and simple parameters: two for decode, one more (on processors two) for prefill, one for memory.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.profiles import load_profiles
from harness.spec_sheet.engines import PROCESSORS
from harness.spec_sheet.figures import Row, figures_sha256, figures_text, read_figures
from harness.spec_sheet.model import (
    COEFFICIENTS,
    QUANTITIES,
    Coefficient,
    Coefficients,
    decode_bases,
    memory_bases,
    prefill_bases,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from harness.spec_sheet.model import SheetQuantity

# A fit of its own needs figures of so many devices: with one its error is not known.
LEAST_DEVICES: Final = 2
LEAST_ROWS: Final = 3

_COVERAGE: Final = 0.9
# Efficiencies of the bandwidth from 2 % to 150 %: a spec sheet may be wrong, and caches help.
_INVERSE_EFFICIENCY: Final = np.geomspace(1 / 1.5, 50, 260)
_FIXED_MS: Final = np.concatenate([[0.0], np.geomspace(0.2, 60, 58)])
_PRODUCTS: Final = np.geomspace(1 / 4, 400, 500)
_FIXED_GB: Final = np.concatenate([[0.0], np.geomspace(0.05, 4, 90)])

Factors = dict[str, float]


def bases(row: Row, quantity: SheetQuantity) -> dict[str, float]:
    """The bases of a row that can be computed."""
    sheet, load, processor = row.sheet, row.load, row.processor
    if sheet is None or load is None or processor is None:
        raise ValueError(f"line {row.line} cannot be computed")
    if quantity == "memory":
        return memory_bases(load)
    if sheet.bandwidth is None:
        raise ValueError(f"line {row.line}: no bandwidth")
    if quantity == "decode":
        return decode_bases(load, sheet.bandwidth)
    if row.flops is None:
        raise ValueError(f"line {row.line}: no peak of the {processor}")
    return prefill_bases(load, sheet.bandwidth, row.flops, processor)


def amount(row: Row, quantity: SheetQuantity) -> float:
    """What was measured, as the terms count it: seconds, or bytes."""
    value = row.measured[quantity]
    if quantity == "memory":
        return value
    prompt = row.load.prompt if row.load else 1
    return (prompt if quantity == "prefill" else 1) / value


def predicted(row: Row, quantity: SheetQuantity, factors: Mapping[str, float]) -> float:
    """What the factors make of a row: seconds, or bytes."""
    return sum(base * factors[name] for name, base in bases(row, quantity).items())


def usable(rows: Iterable[Row], quantity: SheetQuantity) -> list[Row]:
    """The rows that have the quantity and of which it can be computed."""
    return [row for row in rows if quantity in row.measured and row.why_not(quantity) is None]


def fit(rows: Sequence[Row], quantity: SheetQuantity) -> Factors | None:
    """The factors of a quantity, `None` for too few rows. Prefill needs decode's rows as well."""
    mine = usable(rows, quantity)
    if not mine:
        return None
    if quantity == "decode":
        return _decode(mine)
    if quantity == "memory":
        return _memory(mine)
    decode = fit(rows, "decode")
    return _prefill(mine, decode) if decode else None


def _decode(rows: Sequence[Row]) -> Factors:
    found = [bases(row, "decode") for row in rows]
    reads = np.array([each["weights"] + each["attention"] for each in found])
    fixed = np.array([each["fixed"] for each in found])
    seconds = np.array([amount(row, "decode") for row in rows])
    # [a, 1/e, row]: the whole grid at once is 15,000 points.
    sums = _FIXED_MS[:, None, None] * fixed + _INVERSE_EFFICIENCY[None, :, None] * reads
    loss = (np.abs(np.log(sums / seconds)) * _weights(rows)).sum(axis=2)
    a, e = np.unravel_index(int(loss.argmin()), loss.shape)
    inverse = float(_INVERSE_EFFICIENCY[e])
    return {"weights": inverse, "attention": inverse, "fixed": float(_FIXED_MS[a])}


def _prefill(rows: Sequence[Row], decode: Factors) -> Factors:
    factors = dict(decode)
    for name in ("operations", "operations.float"):
        having = [row for row in rows if name in bases(row, "prefill")]
        if not having:
            continue
        found = [bases(row, "prefill") for row in having]
        products = np.array([each[name] for each in found])
        rest = np.array([sum(decode[k] * v for k, v in b.items() if k in decode) for b in found])
        seconds = np.array([amount(row, "prefill") for row in having])
        sums = _PRODUCTS[:, None] * products + rest
        loss = (np.abs(np.log(sums / seconds)) * _weights(having)).sum(axis=1)
        factors[name] = float(_PRODUCTS[int(loss.argmin())])
    # Floating-point products where none were published: as those of integers, which is a belief.
    factors.setdefault("operations.float", factors.get("operations", 0.0))
    factors.setdefault("operations", factors["operations.float"])
    return factors


def _memory(rows: Sequence[Row]) -> Factors:
    found = [bases(row, "memory") for row in rows]
    held = np.array([each["file"] + each["kv"] for each in found])
    measured = np.array([amount(row, "memory") for row in rows])
    sums = _FIXED_GB[:, None] * 1e9 + held
    loss = (np.abs(np.log(sums / measured)) * _weights(rows)).sum(axis=1)
    return {"file": 1.0, "kv": 1.0, "fixed": float(_FIXED_GB[int(loss.argmin())])}


def _weights(rows: Sequence[Row]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    pairs = [(device_of(row), model_of(row)) for row in rows]
    number = Counter(pairs)
    return np.array([1 / number[pair] for pair in pairs])


def device_of(row: Row) -> str:
    """The profile that a row is of."""
    return row.sheet.device if row.sheet else row.device


def model_of(row: Row) -> str:
    """The shape that a row is of."""
    return row.load.shape.id if row.load else row.model


def left_out(
    rows: Sequence[Row], scope: str, quantity: SheetQuantity, by: Callable[[Row], str]
) -> dict[int, float]:
    """Predicted over measured amounts by line, each row with its device (or model) left out.

    Where nothing of the scope is left then, all engines of the processor stand for it, as they
    would for a user with an engine of which nothing was published.
    """
    ratios: dict[int, float] = {}
    mine = usable(within(rows, scope), quantity)
    for group in sorted({by(row) for row in mine}):
        others = [row for row in rows if by(row) != group]
        factors = fit(within(others, scope), quantity)
        if factors is None or len(usable(within(others, scope), quantity)) < LEAST_ROWS:
            processor = PROCESSORS.get(scope, scope)  # type: ignore[call-overload] # or a processor
            factors = fit(within(others, processor), quantity) or factors
        if factors is None:
            continue
        for row in mine:
            if by(row) == group:
                ratios[row.line] = predicted(row, quantity, factors) / amount(row, quantity)
    return ratios


def within(rows: Iterable[Row], scope: str) -> list[Row]:
    """The rows of a family, or of all on a processor."""
    return [row for row in rows if scope in {row.family, row.processor}]


def errors(ratios: Iterable[float], quantity: SheetQuantity) -> list[float]:
    """|predicted / measured - 1| of the published figure: a speed is the inverse of a time."""
    turned = (ratio if quantity == "memory" else 1 / ratio for ratio in ratios)
    return [abs(ratio - 1) for ratio in turned]


def middle(values: Sequence[float]) -> tuple[float, float] | None:
    """Median and 90th percentile."""
    if not values:
        return None
    tenth = quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]
    return round(median(values), 4), round(tenth, 4)


def reach(ratios: Iterable[float]) -> float:
    """The factor within which 9 of 10 further ratios are expected, from those left out.

    The conformal quantile of |log ratio|; the largest where there are too few for it.
    """
    sizes = sorted(abs(math.log(ratio)) for ratio in ratios)
    rank = min(len(sizes), math.ceil((len(sizes) + 1) * _COVERAGE))
    return math.exp(sizes[rank - 1]) if sizes else math.inf


def coefficients(rows: Sequence[Row]) -> Coefficients:
    """All fits: of families with enough devices, and of the two processors."""
    fits: dict[str, dict[SheetQuantity, Coefficient]] = {}
    for scope in (*PROCESSORS, "cpu", "gpu"):
        for quantity in QUANTITIES:
            mine = usable(within(rows, scope), quantity)
            devices = {device_of(row) for row in mine}
            factors = fit(within(rows, scope), quantity)
            if factors is None or len(devices) < LEAST_DEVICES or len(mine) < LEAST_ROWS:
                continue
            by_device = left_out(rows, scope, quantity, device_of)
            by_model = left_out(rows, scope, quantity, model_of)
            factor = reach(by_device.values())
            fits.setdefault(scope, {})[quantity] = Coefficient(
                factors={name: round(value, 4) for name, value in factors.items()},
                low=round(1 / factor, 4),
                high=round(factor, 4),
                n=len(mine),
                devices=len(devices),
                models=len({model_of(row) for row in mine}),
                device_left_out=middle(errors(by_device.values(), quantity)),
                model_left_out=middle(errors(by_model.values(), quantity)),
            )
    return Coefficients(figures_sha256=figures_sha256(), rows=len(rows), fits=fits)


def main() -> None:
    """Write the coefficients that are shipped."""
    rows = read_figures(figures_text(), load_profiles())
    path = Path(__file__).with_name(COEFFICIENTS)
    text = coefficients(rows).model_dump_json(indent=1)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
