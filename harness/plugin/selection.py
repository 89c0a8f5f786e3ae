"""Which tests a run has, of which device and workload, and in what order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness.plugin.stash import PLAN, named_places
from harness.profiles import Profile

if TYPE_CHECKING:
    from harness.models import Workload

# Of one device: first what needs no model; what may end in a death of the browser comes last.
SUITE_ORDER = (
    "test_environment",
    "test_limits",
    "test_probe",
    "test_full_load",
    "test_claims",
    "test_ab",
    "test_oom",
)

# Suites of many loads: they run where their file is named, or -m speaks of their mark.
NAMED_SUITES = ("claims", "ab")


def workload_id(workload: Workload) -> str:
    """How the ids of tests name a workload; no two of a run share it."""
    source = "" if workload.source == "network" else f"-{workload.source}"
    return f"{workload.model}-{workload.quantisation}-{workload.runtime}{source}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each suite once a device, and once a workload where it takes one."""
    plan = metafunc.config.stash.get(PLAN, None)
    if plan is None:
        return
    if "profile" in metafunc.fixturenames:
        metafunc.parametrize(
            "profile",
            [pytest.param(p, id=p.id) for p in plan.profiles],
            scope="session",
        )
    if "asked_app" in metafunc.fixturenames:
        metafunc.parametrize(
            "asked_app", [pytest.param(a, id=str(a)) for a in plan.apps], scope="session"
        )
    if "binary_case" in metafunc.fixturenames:
        cases = plan.binary.cases if plan.binary else ()
        metafunc.parametrize(
            "binary_case", [pytest.param(c, id=str(c)) for c in cases], scope="session"
        )
    if "workload" in metafunc.fixturenames:
        metafunc.parametrize(
            "workload",
            [pytest.param(w, id=workload_id(w)) for w in plan.workloads],
            scope="session",
        )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not asked for, and bring the rest into the order of the plan.

    What is left out is deselected, since a skip would read as a result. This runs after pytest has
    grouped the tests by their session-wide parameters, and keeps its order within one suite.
    """
    fits: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        (fits if _is_wanted(config, item) else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
    plan = config.stash.get(PLAN, None)
    if plan is not None:
        devices = [profile.id for profile in plan.profiles]
        fits.sort(key=lambda item: _place(item, devices))
    items[:] = fits


def _profile_of(item: pytest.Item) -> Profile | None:
    """The device profile that a test is run on."""
    callspec = getattr(item, "callspec", None)
    found = callspec.params.get("profile") if callspec else None
    return found if isinstance(found, Profile) else None


def _is_wanted(config: pytest.Config, item: pytest.Item) -> bool:
    """Whether a test fits its device, and is not of real size unless `-m` speaks of that."""
    if item.get_closest_marker("full") and not re.search(r"\bfull\b", config.option.markexpr):
        return False
    if item.get_closest_marker("native_app") and not config.option.app:
        return False
    if item.get_closest_marker("binary") and config.option.binary is None:
        return False
    if not _app_fits(item):
        return False
    for name in NAMED_SUITES:
        if item.get_closest_marker(name) and not (
            re.search(rf"\b{name}\b", config.option.markexpr) or _is_named(config, item)
        ):
            return False
    marker, profile = item.get_closest_marker("devices"), _profile_of(item)
    return marker is None or profile is None or bool(marker.kwargs["where"](profile))


def _app_fits(item: pytest.Item) -> bool:
    """Whether a test asks an app of its device's kind, or none at all."""
    callspec, profile = getattr(item, "callspec", None), _profile_of(item)
    asked = callspec.params.get("asked_app") if callspec else None
    return asked is None or profile is None or asked.app.platform == profile.kind


def _is_named(config: pytest.Config, item: pytest.Item) -> bool:
    """Whether the test's own file was asked for, and not a folder that holds it."""
    return item.path in named_places(config)


def _place(item: pytest.Item, devices: list[str]) -> tuple[int, int]:
    """Device by device in the order asked for, and of each the suites in theirs."""
    profile, suite = _profile_of(item), item.path.stem
    return (
        devices.index(profile.id) if profile else -1,
        SUITE_ORDER.index(suite) if suite in SUITE_ORDER else len(SUITE_ORDER),
    )
