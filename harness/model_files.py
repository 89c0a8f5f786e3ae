"""The model files of a run: the user's own, or made ones from the cache."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.models import find_model
from harness.weights.variants import varied

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.models import Workload
    from harness.weights.artifact import Artifact
    from harness.weights.cache import ArtifactCache
    from harness.weights.plan import Recipe


class ModelFiles:
    """Gives the model file for a workload.

    Args:
        cache: of made files.
        own: the user's file, which takes the place of all.
        say: told how far the making has come.
    """

    def __init__(
        self, cache: ArtifactCache, own: Artifact | None, say: Callable[[str], None]
    ) -> None:
        self._cache = cache
        self._own = own
        self._say = say

    def of(self, workload: Workload, recipe: Recipe) -> Artifact:
        """The file that a runtime asks for by its recipe; made where it is missing.

        Raises:
            UserError: it cannot be made, or the user's file cannot stand for it.
        """
        if self._own is not None:
            if workload.variant:
                raise UserError(
                    f"--artifact is one file, and {workload} needs another", "leave it out"
                )
            return self._own
        asked = varied(recipe, workload.variant)
        return self._cache.ensure(find_model(workload.model), asked, self.making())

    def making(self) -> Callable[[int, int], None]:
        """Progress of a writer, told once every tenth."""
        told = -1

        def progress(done: int, total: int) -> None:
            nonlocal told
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # The loop stands still while a file is written: Ctrl-C would have to wait for it.
                raise asyncio.CancelledError
            tenth = 10 * done // total if total else 10
            if tenth > told:
                told = tenth
                self._say(f"making the model file: {done >> 20} of {total >> 20} MiB")

        return progress
