"""What is left out together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from results.learning import fit_recipes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from results.learning.fit import Beliefs, Fits
    from results.observation import Observation


class Split(StrEnum):
    """What a fold leaves out: one device class, one model, or all classes of as many cores."""

    DEVICE = "device"
    MODEL = "model"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Fold:
    """One part that was left out, and the fits of the rest for the recipes that it has."""

    split: Split
    label: str
    tested: list[Observation]
    training: list[Observation]
    fits: dict[str, Fits]

    def of(self, observation: Observation) -> Fits:
        """The fits of an observation's recipe; empty where the rest had too few trials."""
        return self.fits.get(observation.recipe, {})


def label(observation: Observation, split: Split) -> str:
    """The part that an observation belongs to."""
    match split:
        case Split.DEVICE:
            return observation.device
        case Split.MODEL:
            return observation.model
        case Split.GROUP:
            cores = observation.cores
            return observation.device if cores is None else f"{cores:g} cores"


def folds(
    observations: Sequence[Observation], split: Split, beliefs: Beliefs | None = None
) -> Iterator[Fold]:
    """A fold for each part, in the order of their names."""
    labels = [label(observation, split) for observation in observations]
    for part in sorted(set(labels)):
        pairs = list(zip(observations, labels, strict=True))
        tested = [observation for observation, of in pairs if of == part]
        training = [observation for observation, of in pairs if of != part]
        recipes = {observation.recipe for observation in tested}
        fits = fit_recipes(training, recipes=recipes, beliefs=beliefs)
        yield Fold(split, part, tested, training, fits)
