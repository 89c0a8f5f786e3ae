"""The spec-sheet model: pure arithmetic from a sheet, a shape and fitted factors to a prediction.

    decode:  t = 1/e_b * (bytes of weights + keys and values) / bandwidth + a
    prefill: t = 1/e_f * n * operations of a token / peak of the processor + one pass of decode
    memory:  file + keys and values + base

Bandwidth alone is not enough: `a` is what an engine needs for a token whatever the model is. One
pass over the weights stands for what a prompt costs beside its products.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UserError, first_fault
from results.record import Interval, Term

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.models import Quantisation
    from harness.spec_sheet.engines import Processor
    from harness.spec_sheet.shapes import Shape

COEFFICIENTS: Final = "coefficients.json"
COEFFICIENTS_VERSION: Final = 1

SheetQuantity = Literal["decode", "prefill", "memory"]
QUANTITIES: Final[tuple[SheetQuantity, ...]] = ("decode", "prefill", "memory")

# From here on weights are multiplied as floating-point numbers, below as integers.
_FLOAT_BITS: Final = 16
_MILLI: Final = 1e-3
_GIGA: Final = 1e9

Terms = dict[str, Term]
Factor = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Coefficient(_Part):
    """The factors of one quantity.

    `low` and `high` bound measured / predicted (of seconds, or bytes) for a device that was not in
    the fit: its left-out residuals. Errors are |predicted / measured - 1| of the figure that is
    published (tokens a second, or bytes) with the device left out, or the model.
    """

    factors: dict[str, Factor]
    low: Positive
    high: Positive
    n: Annotated[int, Field(ge=1)]
    devices: Annotated[int, Field(ge=1)]
    models: Annotated[int, Field(ge=1)]
    device_left_out: tuple[Factor, Factor] | None = Field(description="median and p90 error")
    model_left_out: tuple[Factor, Factor] | None = Field(description="median and p90 error")


class Coefficients(_Part):
    """All factors, by family of engines (`xnnpack/cpu`) or, for those without, by processor."""

    version: Literal[1] = COEFFICIENTS_VERSION
    figures_sha256: str
    rows: int
    fits: dict[str, dict[SheetQuantity, Coefficient]]

    def of(self, names: tuple[str | None, ...], quantity: SheetQuantity) -> str | None:
        """The first of the names that has a fit of the quantity."""
        return next((n for n in names if n and quantity in self.fits.get(n, {})), None)


@cache
def shipped() -> Coefficients:
    """The coefficients that come with the package.

    Raises:
        UserError: the file is damaged.
    """
    text = files("harness.spec_sheet").joinpath(COEFFICIENTS).read_text(encoding="utf-8")
    try:
        return Coefficients.model_validate_json(text)
    except ValidationError as error:
        raise UserError(
            f"{COEFFICIENTS}: {first_fault(error)}",
            "write it again: python -m harness.spec_sheet.fit",
        ) from error


@dataclass(frozen=True, slots=True)
class Storage:
    """Bits a weight, scales included: of the layers, and of the vocabulary table.

    `tables` copies of the latter are in the file where head and embedding are stored apart.
    """

    body_bits: float
    table_bits: float
    tables: int = 1

    @classmethod
    def of(cls, quantisation: Quantisation) -> Storage:
        """As the catalogue has it: everything alike, a 16-bit scale for each block."""
        bits = quantisation.bits + (16 / quantisation.block if quantisation.block else 0)
        return cls(bits, bits)

    @property
    def integer(self) -> bool:
        """Whether weights are integers with scales."""
        return self.body_bits < _FLOAT_BITS

    def decode_bytes(self, shape: Shape) -> float:
        """Bytes of the weights that one token reads."""
        return (shape.body * self.body_bits + shape.table * self.table_bits) / 8

    def file_bytes(self, shape: Shape) -> float:
        """Bytes of the model file."""
        tables = self.tables * shape.table * self.table_bits
        return ((shape.stored - shape.table) * self.body_bits + tables) / 8


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked: a model, stored somehow, at a length.

    Attributes:
        shape, storage: the model and how its weights are stored.
        prompt: tokens.
        context: tokens whose keys and values are held, and read for each token.
        kv_bytes: of one key or value.
    """

    shape: Shape
    storage: Storage
    prompt: int
    context: float
    kv_bytes: int = 2

    @property
    def cache_bytes(self) -> float:
        """Bytes of all keys and values."""
        return self.context * self.shape.kv_values * self.kv_bytes


def decode_bases(load: Load, bandwidth: float) -> dict[str, float]:
    """Seconds a token at the full bandwidth (bytes a second), and a millisecond."""
    return {
        "weights": load.storage.decode_bytes(load.shape) / bandwidth,
        "attention": load.cache_bytes / bandwidth,
        "fixed": _MILLI,
    }


def prefill_bases(
    load: Load, bandwidth: float, flops: float, processor: Processor
) -> dict[str, float]:
    """Seconds for the whole prompt: its products at the peak, and one pass over the weights.

    Processors multiply integers by instructions of their own: `operations.float` are the others.
    """
    floats = processor == "cpu" and not load.storage.integer
    products = "operations.float" if floats else "operations"
    operations = load.prompt * load.shape.prefill_flops
    return {products: operations / flops, **decode_bases(load, bandwidth)}


def memory_bases(load: Load) -> dict[str, float]:
    """Bytes: of the file, of keys and values, and a GB."""
    return {
        "file": load.storage.file_bytes(load.shape),
        "kv": load.cache_bytes,
        "fixed": _GIGA,
    }


def terms_of(bases: Mapping[str, float], factors: Mapping[str, float], times: float = 1) -> Terms:
    """Each base with its factor, `times` as much.

    Raises:
        KeyError: a base has no factor.
    """
    return {name: Term(base=base, factor=times * factors[name]) for name, base in bases.items()}


def total(terms: Mapping[str, Term]) -> float:
    """What the terms add up to."""
    return sum(term.base * term.factor for term in terms.values())


def band(terms: Mapping[str, Term], low: float, high: float) -> Interval:
    """The sum with its bounds, as factors of it."""
    expected = total(terms)
    return Interval(low=expected * min(low, 1), expected=expected, high=expected * max(high, 1))


def speed(tokens: int, seconds: Interval) -> Interval:
    """Tokens a second."""
    return Interval(
        low=tokens / seconds.high, expected=tokens / seconds.expected, high=tokens / seconds.low
    )
