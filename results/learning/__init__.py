"""From observations to engine factors and bands: what `tierlab calibrate` does."""

from results.learning.fit import FIRST_PROBE_VERSION, fit, fit_recipes
from results.learning.predict import expected_value, needed_bytes

__all__ = ["FIRST_PROBE_VERSION", "expected_value", "fit", "fit_recipes", "needed_bytes"]
