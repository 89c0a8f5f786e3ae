"""What the native engines share: packages of Python, and threads.

Their speeds are not predicted: the probe measures what a page can reach, and a native engine has
wider instructions than WebAssembly, by a factor that was seen on one processor only.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar, Final

from harness.errors import UserError

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact

_INSTALL: Final = 'install it with ./lab setup --native, or pip install "tierlab[native]"'


class PythonEngine:
    """What the engines from PyPI answer alike; a base for convenience, where `Runtime` is the seam.

    Attributes:
        package: its Python package.
    """

    __slots__ = ()
    package: ClassVar[str]

    def version(self) -> str:
        """See `Runtime.version`: the package's, which does not say which engine is inside."""
        return f"{self.package} {python_package_version(self.package)}"

    def missing(self) -> str | None:
        """See `Runtime.missing`."""
        return missing_python_package(self.package)

    def exact_quantisation(self, model: Architecture, name: str) -> str:  # noqa: ARG002
        """See `Runtime.exact_quantisation`: names are taken as they are."""
        return name

    def threads(self, report: ProbeReport) -> int:
        """See `Runtime.threads`: one a core that programs may use; a page sees the same number."""
        return max(1, report.environment.hardware_concurrency or 1)

    def config(self, artifact: Artifact, threads: int) -> dict[str, Any]:
        """See `Runtime.config`; read by the engine's module in `harness.engines`."""
        return {
            "model": str(artifact.entry_path.resolve()),
            "bytes": artifact.total_bytes,
            "threads": threads,
            "words": artifact.kind == "synthetic",
        }


def python_package_version(package: str) -> str:
    """The version of an installed Python package.

    Raises:
        UserError: it is not installed.
    """
    try:
        return version(package)
    except PackageNotFoundError as error:
        problem = f"the Python package {package} is not installed"
        raise UserError(problem, _INSTALL) from error


def missing_python_package(package: str) -> str | None:
    """What to say of a Python package that is not installed; `None` when it is."""
    try:
        python_package_version(package)
    except UserError as error:
        return str(error)
    return None
