"""What one load came to, and the table of loads through the harness beside bare ones: pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.markdown import ratio_of, significant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEADS: Final = (
    "runtime",
    "weights",
    "threads",
    "n",
    "load s",
    "first token s",
    "warm first token s",
    "prefill tok/s",
    "decode tok/s",
    "peak GB",
    "same tokens",
)
NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class Figures:
    """One load.

    Attributes:
        load_seconds: From the first byte asked for to an engine that stands.
        first_seconds: From the prompt to the first token, cold.
        warm_seconds: The same prompt once more; None where the first took too long for that.
        prompt_tokens: How many the engine made of the prompt.
        token_ms: Milliseconds of each token; what came together shares the time.
        peak_bytes: Renderer and GPU process, or the engine's own process.
        tokens: What came out.
    """

    load_seconds: float
    first_seconds: float
    warm_seconds: float | None
    prompt_tokens: int
    token_ms: tuple[float, ...]
    peak_bytes: int
    tokens: tuple[int, ...]

    @property
    def prefill_rate(self) -> float | None:
        """Prompt tokens a second once everything is warm."""
        return self.prompt_tokens / self.warm_seconds if self.warm_seconds else None

    @property
    def decode_rate(self) -> float | None:
        """Tokens a second by the median step, without the first two, as records have it."""
        steps = self.token_ms[2:] or self.token_ms[1:]
        middle = median(steps) if steps else 0
        return 1000 / middle if middle > 0 else None


@dataclass(frozen=True, slots=True)
class Round:
    """One load through the harness and one bare, one after the other; a text is a failure."""

    harness: Figures | str
    bare: Figures | str

    @property
    def failed(self) -> bool:
        """Whether one of both failed."""
        return isinstance(self.harness, str) or isinstance(self.bare, str)


COLUMNS: Final[tuple[Callable[[Figures], float | None], ...]] = (
    lambda figures: figures.load_seconds,
    lambda figures: figures.first_seconds,
    lambda figures: figures.warm_seconds,
    lambda figures: figures.prefill_rate,
    lambda figures: figures.decode_rate,
    lambda figures: figures.peak_bytes / 1e9,
)


def cell(rounds: Sequence[Round], column: Callable[[Figures], float | None]) -> str:
    """`harness / bare = ratio`: medians, and the median of the ratios of the rounds."""
    ours = [column(item.harness) for item in rounds if isinstance(item.harness, Figures)]
    bare = [column(item.bare) for item in rounds if isinstance(item.bare, Figures)]
    pairs = [
        (first, second)
        for first, second in (
            (column(item.harness), column(item.bare))
            for item in rounds
            if isinstance(item.harness, Figures) and isinstance(item.bare, Figures)
        )
        if first is not None and second is not None
    ]
    if not any(value is not None for value in (*ours, *bare)):
        return NOTHING
    text = f"{_middle(ours)} / {_middle(bare)}"
    ratio = ratio_of(pairs)
    return text if ratio is None else f"{text} = {ratio:.2f}"


def _middle(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return significant(median(known)) if known else NOTHING


def same_tokens(rounds: Sequence[Round]) -> str:
    """Whether every load of a row gave the same tokens, with the harness and without."""
    given = [
        figures.tokens
        for item in rounds
        for figures in (item.harness, item.bare)
        if isinstance(figures, Figures)
    ]
    if len(given) < 2:
        return NOTHING
    return "yes" if len(set(given)) == 1 else "no"


def row(name: str, weights: str, threads: int, rounds: Sequence[Round]) -> tuple[str, ...]:
    """The cells of one engine, in the order of `HEADS`."""
    good = sum(not item.failed for item in rounds)
    cells = (cell(rounds, column) for column in COLUMNS)
    return (name, weights, str(threads), str(good), *cells, same_tokens(rounds))


def failures(name: str, rounds: Sequence[Round]) -> list[str]:
    """What failed, each in a line."""
    found = [
        f"{name}, {way}: {outcome}"
        for item in rounds
        for way, outcome in (("through the harness", item.harness), ("bare", item.bare))
        if isinstance(outcome, str)
    ]
    return list(dict.fromkeys(found))
