"""What `--ab` asks for, and where a trial's browser and packages come from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from harness.ab import AS_INSTALLED, AbPlan, Setup, plan_ab
from harness.devices.browsers import InstalledBrowser, find_browser
from harness.errors import UserError
from harness.laboratory import Laboratory, LaboratorySettings
from harness.models import MODELS, Workload, tiny
from harness.packages import NODE_MODULES, node_modules, packages_from
from harness.profiles import load_profiles
from harness.runtimes import find_runtime
from harness.trial import TrialSettings
from results.regressions.ab import Mark, mark_of
from results.regressions.comparison import TOLERANCE
from results.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Path]

WLLAMA = Workload("gemma-3-270m", "q4_k", "wllama/wasm", 16, 4)
ONNX = Workload("gemma-3-270m", "int4", "onnxruntime-web/wasm", 16, 4)
NATIVE = Workload("gemma-3-270m", "q4_k", "llama.cpp/native", 16, 4)


@pytest.fixture
def browser(tmp_path: Path) -> Make:
    def make(name: str, says: str = "echo Chromium 156.0.1") -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{says}\n")
        path.chmod(0o755)
        return path

    return make


def packages(folder: Path, package: str, version: str) -> Path:
    """A folder as `npm install --prefix` leaves it."""
    place = folder / "node_modules" / package
    place.mkdir(parents=True)
    (place / "package.json").write_text(json.dumps({"version": version}))
    return folder


def plan(asked: str, *workloads: Workload, rounds: int = 6, tolerance: float = 5.0) -> AbPlan:
    return plan_ab(asked, workloads or (WLLAMA,), rounds=rounds, tolerance_percent=tolerance)


def test_two_browsers(browser: Make) -> None:
    a, b = browser("stable"), browser("beta")
    found = plan(f"browser={a}, {b}")
    assert (found.by, found.a, found.b, found.tolerance) == ("browser", a, b, TOLERANCE)


def test_browsers_of_the_path(browser: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = browser("a-browser")
    monkeypatch.setenv("PATH", f"{path.parent}:/bin:/usr/bin")
    found = plan("browser=a-browser,a-browser")
    assert (found.a, found.b) == (path, path)


def test_two_folders_of_packages(tmp_path: Path) -> None:
    old = packages(tmp_path / "old", "@wllama/wllama", "3.7.0")
    new = packages(tmp_path / "new", "@wllama/wllama", "3.8.1") / "node_modules"
    found = plan(f"runtime={old},{new}")
    assert (found.by, found.a, found.b) == ("runtime", old / "node_modules", new)


def test_both_take_turns_and_a_drift_favours_neither(browser: Make) -> None:
    a, b = browser("stable"), browser("beta")
    turns = list(plan(f"browser={a},{b}", rounds=7, tolerance=10.0).turns())
    marks = [setup.mark for setup in turns if setup.mark]
    assert "".join(mark.side for mark in marks) == "ABBAABBAABBAAB"
    assert [mark.round for mark in marks] == [n for n in range(7) for _ in "AB"]
    assert {mark.tolerance for mark in marks} == {0.1}
    assert [setup.browser for setup in turns[:4]] == [a, b, b, a]
    assert {setup.node_modules for setup in turns} == {NODE_MODULES}
    assert len(set(turns)) == len(turns)


def test_packages_take_turns_as_browsers_do(tmp_path: Path) -> None:
    old, new = (packages(tmp_path / name, "@wllama/wllama", "1.0") for name in ("old", "new"))
    first, second, *_ = plan(f"runtime={old},{new}").turns()
    assert [setup.node_modules.parent for setup in (first, second)] == [old, new]
    assert first.browser is None


@pytest.mark.parametrize(
    "asked",
    ["", "browser", "browser=", "browser=a", "browser=a,", "browser=a,b,c", "weather=a,b"],
)
def test_what_names_no_two_things(asked: str) -> None:
    with pytest.raises(UserError) as raised:
        plan(asked)
    assert raised.value.problem == f"--ab {asked!r} does not name two things of one kind"
    assert "--ab browser=COMMAND,COMMAND or --ab runtime=FOLDER,FOLDER" in str(raised.value)


def test_too_few_rounds_are_refused(browser: Make) -> None:
    path = browser("stable")
    with pytest.raises(UserError) as raised:
        plan(f"browser={path},{path}", rounds=5)
    assert str(raised.value) == (
        "--ab-rounds=5 is too few: they leave no 95 % interval\n  -> give at least 6"
    )


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("inf"), float("nan")])
def test_a_tolerance_of_nothing_is_refused(browser: Make, tolerance: float) -> None:
    path = browser("stable")
    with pytest.raises(UserError, match="must be above 0, and finite"):
        plan(f"browser={path},{path}", tolerance=tolerance)


def test_a_browser_that_is_not_there(browser: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no executable\n  -> give a browser's path, or a command"):
        plan(f"browser={browser('stable')},{tmp_path / 'nosuch'}")


def test_a_browser_that_hides_its_version(browser: Make) -> None:
    """A record could not say which browser it was."""
    silent = browser("silent", "exec true")
    with pytest.raises(UserError, match="does not tell its version") as raised:
        plan(f"browser={silent},{silent}")
    assert 'exec BROWSER "$@"' in raised.value.next_step


@pytest.mark.parametrize("asked", ["browser=sh,sh", "runtime=.,."])
def test_engines_outside_of_browsers_are_no_matter_of_either(asked: str) -> None:
    with pytest.raises(UserError, match=r"llama\.cpp/native runs outside of browsers"):
        plan(asked, WLLAMA, NATIVE)


def test_a_folder_must_have_every_engine(tmp_path: Path) -> None:
    folder = packages(tmp_path / "old", "@wllama/wllama", "3.7.0")
    with pytest.raises(UserError, match="has no onnxruntime-web/wasm: the npm package") as raised:
        plan(f"runtime={folder},{folder}", WLLAMA, ONNX)
    assert raised.value.next_step == f"npm install --prefix {folder} PACKAGE@VERSION"


# ---- where packages come from ----


def test_a_version_is_that_of_the_folder_in_use(tmp_path: Path) -> None:
    here = find_runtime("wllama/wasm").version()
    folder = packages(tmp_path, "@wllama/wllama", "0.0.7") / "node_modules"
    with packages_from(folder):
        assert node_modules() == folder
        assert find_runtime("wllama/wasm").version() == "0.0.7"
        assert find_runtime("onnxruntime-web/wasm").missing() is not None
    assert node_modules() == NODE_MODULES
    assert find_runtime("wllama/wasm").version() == here


def test_what_is_installed_is_the_default() -> None:
    assert (AS_INSTALLED.browser, AS_INSTALLED.node_modules) == (None, NODE_MODULES)
    assert AS_INSTALLED.mark is None


@pytest.mark.integration
def test_a_trial_runs_with_the_browser_and_the_packages_of_its_setup(
    browser: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real browser behind a script that leaves a trace; an engine that fails in its own way."""
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TIERLAB_CACHE", str(tmp_path / "cache"))
    model = tiny(MODELS["gemma-2b"])
    monkeypatch.setitem(MODELS, model.id, model)
    profile = load_profiles()["desktop"]
    real = find_browser(profile.browser)
    assert isinstance(real, InstalledBrowser), real
    trace = tmp_path / "trace"
    script = browser("other-browser", f'echo started >> "{trace}"\nexec "{real.path}" "$@"')
    folder = packages(tmp_path / "other", "@wllama/wllama", "9.9.9") / "node_modules"
    esm = folder / "@wllama" / "wllama" / "esm"
    esm.mkdir()
    (esm / "index.js").write_text("throw new Error('this is the other folder');\n")
    workload = Workload(model.id, "q8_0", "wllama/wasm", 4, 2)
    mark = Mark(by="runtime", side="B", round=0)
    settings = LaboratorySettings(TrialSettings("run-1", tmp_path / "results"))
    with Store.open(tmp_path / "results") as store:
        store.start_run("run-1", "")
    with Laboratory(settings) as lab:
        record = lab.trial(profile, workload, setup=Setup(script, folder, mark))
    assert "this is the other folder" in record.explanation
    assert record.conditions.runtime_version == "9.9.9"
    assert record.conditions.browser_version == real.version
    assert mark_of(record) == mark
    assert trace.read_text().splitlines() == ["started"] * 3  # its version, the probe, the load
