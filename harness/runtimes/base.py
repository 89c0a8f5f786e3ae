"""The seam between a trial and an inference engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import UserError
from harness.web.server import NODE_MODULES

if TYPE_CHECKING:
    from harness.probe.predict import EngineCost
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact
    from harness.weights.options import OnnxOptions


class Runtime(Protocol):
    """An inference engine with a backend, such as `onnxruntime-web/wasm`."""

    @property
    def id(self) -> str:
        """The name that users type."""

    @property
    def backend(self) -> str:
        """`wasm` or `webgpu`: which side of the probe speaks for it."""

    @property
    def adapter(self) -> str:
        """URL path of the JavaScript adapter."""

    def version(self) -> str:
        """The exact version of the engine's package."""

    def unsupported(self, quantisation: str, report: ProbeReport) -> str | None:
        """Why it cannot run such weights on such a device, known before anything is downloaded."""

    def artifact_options(self, quantisation: str, report: ProbeReport) -> OnnxOptions:
        """What kind of artifact it takes on such a device."""

    def threads(self, report: ProbeReport) -> int:
        """How many threads it will run with."""

    def cost(self, quantisation: str, artifact: Artifact, report: ProbeReport) -> EngineCost:
        """What the engine makes of that artifact: the terms that the prediction adds up."""

    def config(self, artifact: Artifact, base: str, threads: int) -> dict[str, Any]:
        """What the adapter is told. `base` is the URL path that the artifact is served below."""


def package_version(package: str) -> str:
    """The version of an installed npm package.

    Raises:
        UserError: it is not installed.
    """
    path = NODE_MODULES / package / "package.json"
    try:
        version: str = json.loads(path.read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"the npm package {package} is not installed ({path} cannot be read)",
            "install it with ./lab setup",
        ) from error
    return version
