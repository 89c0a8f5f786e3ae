"""What libraries can do on a device: questions that are asked, judged and stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.capabilities import (
    ask_library,
    refused_engines,
    refused_question,
    run_native_layer,
)

if TYPE_CHECKING:
    from harness.capability_questions import Question
    from harness.keeping import Keeper
    from harness.leasing import Leasing
    from harness.probe.report import ProbeReport
    from harness.profiles import Profile
    from harness.trial import TrialSettings
    from harness.weights.artifact import Artifact
    from harness.weights.cache import ArtifactCache
    from results.capability import Capability


class Questions:
    """Asks libraries on the devices of one laboratory.

    Args:
        settings: of the run.
        leasing: gives devices.
        keeper: stores what came of it.
        cache: of the files that questions need.
    """

    def __init__(
        self, settings: TrialSettings, leasing: Leasing, keeper: Keeper, cache: ArtifactCache
    ) -> None:
        self._settings = settings
        self._leasing = leasing
        self._keeper = keeper
        self._cache = cache
        self._references: dict[tuple[str, str], list[float]] = {}

    def ask(self, profile: Profile, question: Question) -> Capability:
        """What a library can do on a device.

        Raises:
            UserError: an artifact cannot be made, or the store cannot be written.
        """
        artifact = question.artifact(self._cache)
        reference = self._reference(profile, question, artifact) if question.tolerance else []
        found, _ = self._leasing.insist(
            ("capability", profile.id),
            profile,
            lambda at: ask_library(
                at.device,
                at.server,
                question,
                artifact=artifact,
                run_id=self._settings.run_id,
                results=self._settings.results,
                reference=reference,
            ),
        )
        self._keeper.capability(found)
        return found

    def _reference(
        self, profile: Profile, question: Question, artifact: Artifact | None
    ) -> list[float]:
        """The output of the native engine, a capability of its own; once a device and artifact."""
        if artifact is None:
            return []
        key = (profile.id, artifact.key)
        if key not in self._references:
            found, self._references[key] = self._leasing.insist(
                ("reference", profile.id),
                profile,
                lambda at: run_native_layer(at.device, question, artifact, self._settings.run_id),
            )
            self._keeper.capability(found)
        return self._references[key]

    def refused(self, profile: Profile, question: Question, reason: str) -> Capability:
        """A question that is not asked, since the browser lacks what it takes."""
        found = self._leasing.insist(
            ("refused", profile.id),
            profile,
            lambda at: refused_question(at.device, question, reason, self._settings.run_id),
        )
        self._keeper.capability(found)
        return found

    def refusals(self, profile: Profile, report: ProbeReport) -> list[Capability]:
        """The engines that a probe rules out on a device for every model, and why."""
        found = self._leasing.insist(
            ("refusals", profile.id),
            profile,
            lambda at: refused_engines(at.device, report, self._settings.run_id),
        )
        for capability in found:
            self._keeper.capability(capability)
        return found
