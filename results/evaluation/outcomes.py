"""What is foretold of a load as a whole: whether it runs, and in which tier; and what came of it.

The rule, for recall and precision alike: *unsupported* where structure forbids it, *oom* where the
engine's address space is too small or where the expected peak times the fit's margin exceeds the
limit (without a fit of memory: where the file alone does), *unknown* where there is a limit and no
fit of memory; else it is promised to run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from results.accuracy import judge_prediction
from results.learning import expected_value, needed_bytes
from results.learning.fit import over_heap
from results.observation import Quantity
from results.record import Judgement, Prediction, Tiers, Verdict
from results.tiers import Tier, pair_tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from results.calibration import Fit
    from results.evaluation.folds import Fold, Split
    from results.observation import Observation

TOO_SLOW: Final = "too slow"
"""What the tier `unsupported` is called here, where others do not run at all."""

Foretold = Literal["ok", "oom", "unsupported", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One load, foretold and as it was.

    `unsure`: the interval of its peak holds the limit, so that it may go either way.
    """

    rule: str
    split: Split
    observation: Observation
    foretold: Foretold
    tier: Tier | None
    measured_tier: Tier | None
    unsure: bool = False

    @property
    def predicted_words(self) -> str:
        """The row of the confusion matrix."""
        return _words(self.tier) if self.foretold == "ok" and self.tier else self.foretold

    @property
    def measured_words(self) -> str:
        """The column of the confusion matrix."""
        ran = self.observation.verdict is Verdict.OK
        if not ran:
            return str(self.observation.verdict)
        return _words(self.measured_tier) if self.measured_tier else "ok"

    @property
    def near(self) -> bool:
        """Whether another tenth of speed would have made the measured tier the predicted one."""
        o = self.observation
        if self.tier is None or self.measured_tier is None or self.tier == self.measured_tier:
            return False
        scaled = ({q: v * times for q, v in o.measured.items()} for times in (1 / 1.1, 1.1))
        return self.tier in {_tier(o, seconds) for seconds in scaled}

    @property
    def judgement(self) -> Judgement:
        """Right, or wrong in which direction."""
        prediction = Prediction(verdict=self.foretold, reason="", tier=self.tier)
        tiers = Tiers(prefill=None, decode=None, pair=self.measured_tier)
        return judge_prediction(prediction, self.observation.verdict, tiers)[0]


def foretell(observation: Observation, fits: Mapping[Quantity, Fit]) -> tuple[Foretold, bool]:
    """What is foretold by these fits, and whether it may go either way."""
    if observation.too_much is not None:
        return "unsupported", False
    if over_heap(observation):
        return "oom", False
    limit = observation.memory_limit_bytes
    if limit is None:
        return "ok", False
    need = needed_bytes(observation, fits)
    expected = expected_value(observation, Quantity.MEMORY, fits)
    if need is None or expected is None:
        return ("oom" if observation.file_bytes > limit else "unknown"), False
    memory = fits[Quantity.MEMORY]
    unsure = expected * memory.low <= limit < expected * memory.high
    return ("oom" if need > limit else "ok"), unsure


def outcomes(fold: Fold, rule: str) -> list[Outcome]:
    """What the fold's own fits foretell of what it left out."""
    found = []
    for observation in fold.tested:
        if observation.verdict in {Verdict.INFRA, Verdict.CASCADE}:
            continue
        fits = fold.of(observation)
        foretold, unsure = foretell(observation, fits)
        seconds = {
            quantity: expected_value(observation, quantity, fits)
            for quantity in (Quantity.PREFILL, Quantity.DECODE)
        }
        found.append(
            Outcome(
                rule,
                fold.split,
                observation,
                foretold,
                _tier(observation, seconds) if foretold == "ok" else None,
                measured_tier(observation),
                unsure,
            )
        )
    return found


def measured_tier(observation: Observation) -> Tier | None:
    """The tier that was measured, None where it did not run or is not trusted."""
    if observation.verdict is not Verdict.OK or not observation.trusted:
        return None
    return _tier(observation, observation.measured)


def _words(tier: Tier) -> str:
    return TOO_SLOW if tier is Tier.UNSUPPORTED else str(tier)


def _tier(observation: Observation, seconds: Mapping[Quantity, float | None]) -> Tier | None:
    prefill, decode = seconds.get(Quantity.PREFILL), seconds.get(Quantity.DECODE)
    if not prefill or not decode:
        return None
    return pair_tier(
        prefill_tokens_per_s=observation.prompt_tokens / prefill, decode_tokens_per_s=1 / decode
    )
