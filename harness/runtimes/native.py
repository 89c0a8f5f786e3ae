"""What the native engines share: packages of Python, threads, and what is not predicted of them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from harness.errors import UserError
from harness.probe.predict import DecodeKernels, PrefillKernels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.probe.report import ProbeReport

_INSTALL: Final = 'install it with ./lab setup --native, or pip install "tierlab[native]"'
# No report has a kernel of this name. The probe measures what a page can reach; a native engine has
# wider instructions than WebAssembly, by a factor that was seen on one processor only.
_UNMEASURED: Final = "native"


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


def native_threads(report: ProbeReport) -> int:
    """One thread a core that the device lets its programs use; a page sees the same number."""
    return max(1, report.environment.hardware_concurrency or 1)


def unpredicted_decode(quantisations: Iterable[str]) -> dict[str, DecodeKernels]:
    """Decode speeds that no probe can predict: "unknown", for each of these."""
    return dict.fromkeys(quantisations, DecodeKernels(body=_UNMEASURED, head=_UNMEASURED))


def unpredicted_prefill(quantisations: Iterable[str]) -> dict[str, PrefillKernels]:
    """Prefill speeds that no probe can predict: "unknown", for each of these."""
    return dict.fromkeys(quantisations, PrefillKernels(product=_UNMEASURED))
