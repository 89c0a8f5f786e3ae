"""Special artifacts by name: what a workload's `variant` makes of its engine's recipe.

`pruned-50` has half of its weights exactly zero, and is otherwise the same model.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UserError

if TYPE_CHECKING:
    from harness.weights.plan import Recipe

_PRUNED: Final = re.compile(r"pruned-(?P<percent>[1-9][0-9]?)")


def varied(recipe: Recipe, variant: str) -> Recipe:
    """The recipe of a variant; of the plain model where `variant` is empty.

    Raises:
        UserError: there is no such variant, or the recipe's format has none.
    """
    if not variant:
        return recipe
    found = _PRUNED.fullmatch(variant)
    if not found:
        raise UserError(f"there is no variant {variant!r}", "use pruned-1 to pruned-99")
    if not hasattr(recipe, "zero_share"):
        raise UserError(
            f"{variant}: {type(recipe).__name__} writes no pruned models",
            "choose an engine that takes ONNX or GGUF",
        )
    dataclass: Any = recipe
    changed: Recipe = replace(dataclass, zero_share=int(found["percent"]) / 100)
    return changed
