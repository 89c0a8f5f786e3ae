"""The seam between a trial and an inference engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from harness.errors import UserError
from harness.packages import node_modules

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.recipe import EngineRecipe
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact
    from harness.weights.plan import Recipe

Backend = Literal["wasm", "webgpu", "native"]

HALF_FLOATS = "shader-f16"


class Runtime(Protocol):
    """An inference engine with a backend, such as `onnxruntime-web/wasm`."""

    @property
    def id(self) -> str:
        """The name that users type."""

    @property
    def backend(self) -> Backend:
        """What it runs on; on the web also which side of the probe speaks for it."""

    @property
    def quantisations(self) -> tuple[str, ...]:
        """The ways of storing weights that it takes; the first is its default."""

    def version(self) -> str:
        """The exact version of the engine's package."""

    def missing(self) -> str | None:
        """What must be installed on this machine before it can run at all, or `None`."""

    def exact_quantisation(self, model: Architecture, name: str) -> str:
        """What it makes of a name: `int4` is `q4_k` to one engine, and itself to another."""

    def unsupported(
        self, model: Architecture, quantisation: str, report: ProbeReport
    ) -> str | None:
        """Why it cannot run the model on such a device, known before anything is downloaded."""

    def recipe(self, model: Architecture, quantisation: str, report: ProbeReport) -> Recipe:
        """What kind of artifact it takes on such a device."""

    def threads(self, report: ProbeReport) -> int:
        """How many threads it will run with."""

    def engine(self, quantisation: str, *, gpu: bool) -> EngineRecipe:
        """What the engine costs with weights stored in that way: what predictions add up.

        `gpu`: whether WebGPU is a GPU's, and not software's.
        """

    def config(self, artifact: Artifact, threads: int) -> dict[str, Any]:
        """What the engine's adapter is told, as JSON; the bytes come to it by a source."""


@runtime_checkable
class WebRuntime(Runtime, Protocol):
    """An engine that runs in a page."""

    @property
    def adapter(self) -> str:
        """URL path of the JavaScript adapter."""

    @property
    def host(self) -> Literal["worker", "page"]:
        """Where the adapter runs: in a worker, or in the page for what workers do not have."""


@runtime_checkable
class NativeRuntime(Runtime, Protocol):
    """An engine that runs in a child process on the device."""

    @property
    def module(self) -> str:
        """The Python module of the child: `python -m MODULE`."""


class NpmEngine:
    """What most engines from npm answer alike; a base for convenience, where `Runtime` is the seam.

    Attributes:
        package: its npm package.
    """

    __slots__ = ()
    package: ClassVar[str]

    def version(self) -> str:
        """See `Runtime.version`."""
        return package_version(self.package)

    def missing(self) -> str | None:
        """See `Runtime.missing`."""
        return missing_package(self.package)

    def exact_quantisation(self, model: Architecture, name: str) -> str:  # noqa: ARG002
        """See `Runtime.exact_quantisation`: names are taken as they are."""
        return name

    def threads(self, report: ProbeReport) -> int:  # noqa: ARG002
        """See `Runtime.threads`: one."""
        return 1


def package_version(package: str) -> str:
    """The version of an installed npm package.

    Raises:
        UserError: it is not installed.
    """
    path = node_modules() / package / "package.json"
    try:
        version: str = json.loads(path.read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"the npm package {package} is not installed ({path} cannot be read)",
            "install it with ./lab setup",
        ) from error
    return version


def missing_package(package: str) -> str | None:
    """What to say of an npm package that is not installed; `None` when it is."""
    try:
        package_version(package)
    except UserError as error:
        return str(error)
    return None


def isolated_threads(report: ProbeReport, most: int) -> int:
    """How many threads an engine on WebAssembly gets: one without cross-origin isolation."""
    environment = report.environment
    if not (environment.cross_origin_isolated and environment.wasm_threads):
        return 1
    return max(1, min(environment.hardware_concurrency or 1, most))


def no_webgpu(report: ProbeReport, *, needs: tuple[str, ...] = ()) -> str | None:
    """What a device lacks for an engine on WebGPU, or `None`.

    Args:
        report: what the probe saw.
        needs: features that the adapter must have, such as `shader-f16`.
    """
    webgpu = report.backends.webgpu
    if not report.environment.webgpu:
        return "the browser has no WebGPU"
    if webgpu is None or webgpu.adapter is None:
        return f"no WebGPU adapter: {webgpu.reason if webgpu else 'not probed'}"
    lacking = [feature for feature in needs if feature not in webgpu.adapter.features]
    if lacking:
        return f"the WebGPU adapter lacks {' and '.join(lacking)}, which the engine needs"
    return None


def on_a_gpu(report: ProbeReport) -> bool:
    """Whether the adapter that the probe saw is a GPU, and not one in software."""
    webgpu = report.backends.webgpu
    return webgpu is not None and webgpu.adapter is not None and not webgpu.adapter.software


def engine_on(runtime: Runtime, quantisation: str, report: ProbeReport) -> EngineRecipe:
    """What an engine costs on the device of a report."""
    return runtime.engine(quantisation, gpu=on_a_gpu(report))


def not_written(model: Architecture, recipe: Recipe) -> str | None:
    """Why no artifact can be made of a model by that recipe, or `None`."""
    try:
        recipe.key(model)
    except UserError as error:
        return f"{error.problem}; {error.next_step}"
    return None


def not_taken(quantisation: str, runtime: Runtime) -> str | None:
    """Why an engine does not take weights stored in that way, or `None`."""
    if quantisation in runtime.quantisations:
        return None
    return f"{runtime.id} takes {', '.join(runtime.quantisations)}, not {quantisation}"
