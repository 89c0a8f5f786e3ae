"""The pytest plugin: what users type, and what they are told."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from harness import options, plugin
from harness.checkout import SUITES
from harness.devices import places
from harness.devices.android.server import PORT_VARIABLE, adb_binary
from harness.devices.appium.ports import free_ports
from harness.devices.places import PlacesSettings, unusable
from harness.errors import UserError
from harness.fleet.units import subject_of
from harness.load import Deadlines
from harness.models import MODELS, tiny
from harness.packages import NODE_MODULES
from harness.profiles import LEAST_MEMORY, load_profiles
from harness.weights.gguf.recipe import GgufRecipe
from harness.weights.writing import write
from results.claims import assess, claims
from results.record import Judgement
from results.response import measured_response
from results.store import Store
from tests.other_users import let_in
from tests.results.records import record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import SimpleNamespace

    from harness.options import Plan

pytest_plugins = ("pytester",)

ROOT = SUITES.parent
PROFILES = tuple(load_profiles())
DESKTOPS = tuple(
    p.id for p in load_profiles().values() if p.kind == "desktop" and not p.spec_sheet_only
)

# A suite in place of the real ones: nothing is started. `stub` is loaded in xdist's workers too.
STUB = """
from pathlib import Path
import harness.devices.places
import harness.fleet.live
import harness.plugin
harness.plugin.SUITES = Path(__file__).parent / "suites"
harness.devices.places.find_browser = lambda section: (
    "no firefox" if section.engine == "firefox" else object()
)
harness.devices.places.find_limiter = object
harness.devices.places._unusable_phone = lambda profile, _: (
    None if profile.id == "pixel7" else "no such phone"
)
async def phones(profile, settings):
    return ("phone-A", "phone-B")
harness.fleet.live._phones = phones
"""


@pytest.fixture(autouse=True)
def own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TIERLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TIERLAB_BROWSER", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a browser, Firefox excepted, and with limits."""

    def find(section: SimpleNamespace) -> object:
        return "no firefox on this machine" if section.engine == "firefox" else object()

    monkeypatch.setattr(places, "find_browser", find)
    monkeypatch.setattr(places, "find_limiter", object)
    monkeypatch.setattr(places, "_unusable_phone", lambda *_: "no such phone\n  -> buy one")


class Suites:
    """Runs pytest on suites: in this process on the real ones, or on one made here."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester = pytester
        self._monkeypatch = monkeypatch

    def real(self, *options: str) -> pytest.RunResult:
        results = self.pytester.path / "results"
        return self.pytester.runpytest_inprocess(
            SUITES, "-p", "no:cacheprovider", "--collect-only", "-q",
            f"--results={results}", *options,
        )  # fmt: skip

    def made(self, tests: str, *options: str) -> pytest.RunResult:
        """Run tests that stand for a suite."""
        self._monkeypatch.setattr(plugin, "SUITES", self._write(tests))
        return self.pytester.runpytest_inprocess(
            "suites", "-p", "harness.plugin", "-p", "no:cacheprovider", *options
        )

    def by_workers(self, tests: str, *options: str) -> pytest.RunResult:
        """The same in processes of their own: xdist's workers know nothing of patches here."""
        self._write(tests)
        self._monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{self.pytester.path}")
        self.pytester.makepyfile(stub=STUB)
        return self.pytester.runpytest_subprocess(
            "suites", "-p", "harness.plugin", "-p", "stub", "-p", "no:cacheprovider", *options
        )

    def _write(self, tests: str) -> Path:
        self.pytester.makeini("[pytest]\nmarkers =\n  full\n  claims\n  devices(where)\n")
        folder = self.pytester.path / "suites"
        folder.mkdir(exist_ok=True)
        (folder / "test_made.py").write_text(tests)
        return folder

    def records_of_runs(self) -> list[str]:
        with Store.open(self.pytester.path / "tierlab-results") as store:
            rows = store._connection.execute("SELECT run_id FROM runs WHERE ended_at NOT NULL")
            return [row[0] for row in rows]


@pytest.fixture
def suites(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Suites]:
    """With a port of its own for adb, whose server outlives the program that started it."""
    [port] = free_ports(1)
    monkeypatch.setenv(PORT_VARIABLE, str(port))
    yield Suites(pytester, monkeypatch)
    monkeypatch.undo()
    with socket.socket() as probe:
        started = probe.connect_ex(("127.0.0.1", port)) == 0
    if started:
        binary = asyncio.run(adb_binary())
        subprocess.run(
            [binary, "-P", str(port), "kill-server"], check=True, capture_output=True, timeout=30
        )


def refusal(result: pytest.RunResult) -> str:
    """The message of a run that was refused before anything was collected."""
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stderr.str() + result.stdout.str()
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    message = re.search(r"^ERROR: (.*)", result.stderr.str().strip(), re.MULTILINE | re.DOTALL)
    assert message, said
    return message.group(1)


# ---- options that name nothing that there is ----


@pytest.mark.usefixtures("a_browser")
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--device=desktop-2", "unknown device 'desktop-2'\n  -> did you mean desktop-2g or "),
        ("--device=nosuch", "unknown device 'nosuch'\n  -> known: desktop, desktop-1g, "),
        ("--device=desktop,phone*", "unknown device 'phone*'"),
        ("--device=", "--device names nothing\n  -> leave it out for --device=desktop"),
        ("--model=gema-2b", "unknown model 'gema-2b'\n  -> did you mean gemma-2b or "),
        ("--model=,", "--model names nothing"),
        ("--quant=int5", "unknown quantisation 'int5'\n  -> did you mean int8 or int4?"),
        ("--runtime=onnxruntime-web", "unknown runtime 'onnxruntime-web'\n  -> did you mean onnxr"),
        ("--prompt-tokens=0", "--prompt-tokens=0 must be at least 1"),
        ("--output-tokens=-1", "--output-tokens=-1 must be at least 1"),
        ("--probe-budget=0", "--probe-budget=0 must be at least 1"),
        ("--timeout-load=0", "--timeout-load=0 must be above 0, and finite"),
        ("--timeout-token=nan", "--timeout-token=nan must be above 0, and finite"),
        ("--limit-memory=2x", "'2x' is not a size\n  -> write it like 512m, 2g"),
        (
            "--limit-memory=1m",
            "--limit-memory=1m is too little for a browser\n  -> give at least 2",
        ),
        ("--limit-cpus=0", "a limit of 0.0 cores makes no sense"),
        ("--limit-cpus=nan", "a limit of nan cores makes no sense"),
        (
            "--results=/dev/null/x",
            "--results /dev/null/x: cannot be made: Not a directory\n  -> ch",
        ),
        ("--artifact=gemma.task", "gemma.task: files of MediaPipe and LiteRT-LM cannot be given"),
        ("--artifact=/dev/null/x", "no model at /dev/null/x\n  -> give a .onnx file"),
    ],
)
def test_a_bad_option_ends_the_run_at_once(suites: Suites, option: str, message: str) -> None:
    assert refusal(suites.real(option)).startswith(message)


def test_how_long_to_wait_for_a_quiet_host_is_looked_at_before_anything_starts(
    suites: Suites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERLAB_REST_SECONDS", "soon")
    assert refusal(suites.real()).startswith("TIERLAB_REST_SECONDS='soon' is no number of seconds")


@pytest.mark.usefixtures("a_browser")
def test_an_artifact_that_is_not_onnx(suites: Suites, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("hello")
    message = refusal(suites.real(f"--artifact={tmp_path}"))
    assert (
        message
        == f"{tmp_path / 'model.onnx'} is not an ONNX model\n  -> give a file in ONNX format"
    )


@pytest.mark.usefixtures("a_browser")
def test_results_with_a_store_of_something_else(suites: Suites, tmp_path: Path) -> None:
    (tmp_path / "store.sqlite3").write_text("hello " * 100)
    message = refusal(suites.real(f"--results={tmp_path}"))
    assert message.startswith(f"{tmp_path / 'store.sqlite3'}: cannot be used: file is not a databa")
    assert message.endswith("-> choose another --results")


# ---- devices that cannot be used ----


@pytest.mark.usefixtures("a_browser")
def test_a_device_named_alone_must_be_usable(suites: Suites) -> None:
    assert refusal(suites.real("--device=desktop-firefox")) == (
        "device 'desktop-firefox' cannot be used: no firefox on this machine\n"
        "  -> see pytest suites --list-devices"
    )


@pytest.mark.usefixtures("a_browser")
def test_a_device_named_among_others_must_be_usable_also_with_limits(suites: Suites) -> None:
    message = refusal(suites.real("--device=desktop,desktop-firefox", "--limit-memory=1g"))
    assert message.startswith("device 'desktop-firefox-1g' cannot be used: no firefox")


@pytest.mark.usefixtures("a_browser")
@pytest.mark.parametrize("wanted", ["desktop*", "all"])
def test_a_pattern_takes_what_is_usable_and_lists_the_rest(suites: Suites, wanted: str) -> None:
    result = suites.real(f"--device={wanted}", "-k", "recent")
    assert result.ret == 0
    asked = [name for name in DESKTOPS if wanted == "all" or name.startswith("desktop")]
    for name in set(asked) - {"desktop-firefox"}:
        assert f"recent_enough[{name}]" in result.stdout.str()
    assert "[desktop-firefox]" not in result.stdout.str()
    result.stdout.fnmatch_lines(["not run: desktop-firefox: no firefox on this machine"])


@pytest.mark.usefixtures("a_browser")
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--faults=1:2:3"], "--faults are for virtual phones"),
        (["--emulate", "--faults=many"], "--faults=many is not SEED:COUNT:SECONDS"),
        (["--emulate", "--faults=7:0:60"], "--faults=7:0:60 means no faults"),
        (["--emulate", "--faults=7:-5:60"], "--faults=7:-5:60 means no faults"),
        (["--infra-retries=-1"], "--infra-retries=-1 must not be below 0"),
    ],
)
def test_faults_and_retries_that_mean_nothing(
    suites: Suites, options: list[str], reason: str
) -> None:
    assert refusal(suites.real("--device=desktop", *options)).startswith(reason)


def test_without_any_browser_the_message_says_what_to_install(
    suites: Suites, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIERLAB_BROWSER", str(tmp_path / "nothing"))
    message = refusal(suites.real("--device=all"))
    assert f"TIERLAB_BROWSER names {tmp_path / 'nothing'}, which is not an executable" in message
    assert "`playwright install firefox`" in message


def test_a_browser_that_is_on_no_path(
    suites: Suites, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    monkeypatch.setattr("harness.devices.browsers._PLACES", defaultdict(tuple))
    message = refusal(suites.real())
    assert message.startswith("device 'desktop' cannot be used: no chrome or chromium or msedge on")
    assert "apt-get install chromium" in message


def test_limits_without_permission(suites: Suites, monkeypatch: pytest.MonkeyPatch) -> None:
    def find() -> object:
        raise UserError("limits cannot be set here:\n  - cgroup-v1: not permitted", "run as root")

    monkeypatch.setattr(places, "find_browser", lambda _: object())
    monkeypatch.setattr(places, "find_limiter", find)
    assert refusal(suites.real("--device=desktop-2g")) == (
        "device 'desktop-2g' cannot be used: limits cannot be set here:\n"
        "  - cgroup-v1: not permitted\n"
        "  -> run as root\n"
        "  -> see pytest suites --list-devices"
    )
    result = suites.real("--device=desktop,desktop-2*", "-k", "recent")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["not run: desktop-2g: limits cannot be set here:*run as root"])


@pytest.mark.integration
def test_limits_for_a_user_who_may_set_none(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("steps down from root")
    code = (
        "import os\nfrom harness.devices.places import PlacesSettings, unusable\n"
        "from harness.profiles import load_profiles\n"
        "profile = load_profiles()['desktop-2g']\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(unusable(profile, PlacesSettings()))\n"
    )
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\n")
    browser.chmod(0o755)
    let_in(tmp_path)
    state = tmp_path / "theirs"
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        env={
            "PATH": os.environ["PATH"],
            "TIERLAB_BROWSER": str(browser),
            "TIERLAB_STATE": str(state),
        },
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.startswith("memory and CPU limits cannot be set here:\n  - cgroup-v1: ")
    assert "-> run as root, or" in done.stdout
    assert not list(state.rglob("*.json"))


# ---- the list ----


@pytest.mark.usefixtures("a_browser")
def test_the_list_shows_every_device_and_why_one_is_absent(suites: Suites) -> None:
    result = suites.real("--list-devices")
    assert result.ret == 0
    names = {name: line for line in result.outlines for name in PROFILES if f" {name} " in line}
    assert set(names) == set(PROFILES)
    usable = set(DESKTOPS) - {"desktop-firefox"}
    assert {name for name, line in names.items() if line.startswith("ready ")} == usable
    assert names["desktop-firefox"].startswith("unusable ")
    assert names["desktop-firefox"].endswith(": no firefox on this machine")


def test_the_list_tells_a_bad_profile(
    suites: Suites, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bad.toml").write_text("id = 'bad'")
    monkeypatch.setattr(plugin, "load_profiles", lambda: load_profiles(tmp_path))
    assert refusal(suites.real("--list-devices")).startswith(
        f"{tmp_path / 'bad.toml'}: name: is re"
    )


# ---- the plan ----


@pytest.mark.usefixtures("a_browser")
def test_the_plan_has_what_was_asked_for(pytester: pytest.Pytester) -> None:
    config = pytester.parseconfig(
        SUITES,
        "--device=desktop-1g,desktop",
        "--model=gemma-2b,GEMMA_2B",
        "--model=gemma-3-270m",
        "--quant=int4,int8",
        "--runtime=wllama/wasm,onnxruntime-web/wasm",
        "--source=network,opfs",
        "--limit-memory=1.5 GiB",
        "--limit-cpus=0.5",
        "--timeout-token=7",
    )
    plan: Plan = options.make_plan(config, "run-1")
    assert [profile.id for profile in plan.profiles] == [
        "desktop-1g-1.5gib-0.5cpu",
        "desktop-1.5gib-0.5cpu",
    ]
    for profile in plan.profiles:
        assert profile.resource_limits.memory_bytes == 3 << 29
        assert profile.resource_limits.cpus == 0.5
    # Each engine has its own ways of storing weights, and not every model's rows fit them.
    assert [(w.model, w.runtime, w.quantisation) for w in plan.workloads[::2]] == [
        ("gemma-2b", "wllama/wasm", "q4_k"),
        ("gemma-2b", "wllama/wasm", "q8_0"),
        ("gemma-2b", "onnxruntime-web/wasm", "int4"),
        ("gemma-2b", "onnxruntime-web/wasm", "int8"),
        ("gemma-3-270m", "wllama/wasm", "q4_0"),
        ("gemma-3-270m", "wllama/wasm", "q8_0"),
        ("gemma-3-270m", "onnxruntime-web/wasm", "int4"),
        ("gemma-3-270m", "onnxruntime-web/wasm", "int8"),
    ]
    assert [w.source for w in plan.workloads[:4]] == ["network", "opfs", "network", "opfs"]
    assert plan.settings.trial.deadlines == Deadlines(300.0, 7.0)
    assert plan.settings.trial.run_id == "run-1"
    assert plan.left_out == ()


@pytest.mark.usefixtures("a_browser")
def test_the_default_is_what_the_rows_of_a_model_allow(pytester: pytest.Pytester) -> None:
    config = pytester.parseconfig(
        SUITES, "--model=gemma-2b,gemma-3-270m", "--runtime=wllama/wasm,onnxruntime-web/wasm"
    )
    plan = options.make_plan(config, "run-1")
    assert [w.quantisation for w in plan.workloads] == ["q4_k", "int4", "q8_0", "int4"]


@pytest.mark.usefixtures("a_browser")
def test_an_own_file_goes_to_the_engines_that_take_it(suites: Suites, tmp_path: Path) -> None:
    model = tiny(MODELS["gemma-2b"])
    made = write(GgufRecipe("q8_0").plan(model), tmp_path / "own")
    option = f"--artifact={made.entry_path}"
    told = refusal(suites.real(option, "--runtime=mediapipe/webgpu"))
    assert "mediapipe/webgpu does not take" in told
    assert "engines that do: wllama/wasm" in told
    result = suites.real(option, "--runtime=all")
    tests = re.findall(r"gives_a_verdict\[desktop-gemma-2b-[^-]+-(\S+)\]", result.stdout.str())
    assert {"wllama/wasm", "wllama/webgpu"} <= set(tests)
    assert "onnxruntime-web/wasm" not in tests


def test_limits_of_the_profile_stay_where_no_option_speaks_of_them() -> None:
    profile = load_profiles()["desktop-4g-1core"]
    limited = options._limited(profile, "1g", None)
    assert limited.id == "desktop-4g-1core-1g"
    assert limited.limits.memory == 1 << 30
    assert limited.limits.cpus == 1
    assert options._limited(profile, None, None) is profile
    assert options._limited(profile, "256m", None).limits.memory == LEAST_MEMORY


@pytest.mark.usefixtures("a_browser")
def test_tests_come_device_by_device_and_in_the_order_of_the_suites(suites: Suites) -> None:
    result = suites.real(
        "--device=desktop-1g,desktop", "--model=gemma-2b,gemma-3-270m", "--quant=int4,int8"
    )
    found = [
        re.match(r"suites/test_(\w+)\.py::.*\[(desktop-1g|desktop)\b", n) for n in result.outlines
    ]
    order = [(match[2], match[1]) for match in found if match]
    assert [device for device, _ in order] == sorted((d for d, _ in order), reverse=True)
    for device in ("desktop-1g", "desktop"):
        steps = list(dict.fromkeys(suite for name, suite in order if name == device))
        known = ["environment", "limits", "probe", "full_load", "oom"]
        assert [suite for suite in steps if suite in known] == [s for s in known if s in steps]
        assert {"environment", "probe", "full_load"} <= set(steps)
        assert all((device, suite) in order for suite in steps)
    assert ("desktop-1g", "oom") in order
    assert ("desktop", "oom") not in order  # it has no limit


# ---- runs of suites made here ----


@pytest.mark.usefixtures("a_browser")
def test_the_suites_run_once_a_device_and_their_run_is_noted(suites: Suites) -> None:
    result = suites.made(
        "def test_a(profile, workload): pass\ndef test_b(profile): pass",
        "-v", "--device=desktop-1g,desktop", "--model=gemma-2b,gemma-7b",
    )  # fmt: skip
    # Two devices, two models, and the two best engines of a page; and once a device without.
    result.assert_outcomes(passed=10)
    assert len(suites.records_of_runs()) == 1


@pytest.mark.usefixtures("a_browser")
def test_what_the_user_can_mend_is_shown_without_a_traceback(suites: Suites) -> None:
    result = suites.made(
        "import pytest\nfrom harness.errors import UserError\n"
        "@pytest.fixture\ndef broken(): raise UserError('no cgroup', 'be root')\n"
        "def test_in_the_call(profile): raise UserError('the disk is full', 'free it')\n"
        "def test_in_a_fixture(broken): pass\n"
        "def test_of_another_kind(): raise ValueError('a fault')\n"
    )
    result.assert_outcomes(failed=2, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = result.stdout.str()
    assert "the disk is full\n  -> free it" in text
    assert "no cgroup\n  -> be root" in text
    assert "raise UserError" not in text
    assert "raise ValueError" in text  # a fault of the program keeps its traceback
    result.stdout.fnmatch_lines(["FAILED *test_in_the_call* - *the disk is full*"])


@pytest.mark.usefixtures("a_browser")
def test_real_sizes_run_only_when_asked_for(suites: Suites) -> None:
    tests = "import pytest\n@pytest.mark.full\ndef test_full(): pass\ndef test_other(): pass"
    suites.made(tests).assert_outcomes(passed=1, deselected=1)
    suites.made(tests, "-m", "full").assert_outcomes(passed=1, deselected=1)
    suites.made(tests, "-m", "full or not full").assert_outcomes(passed=2)


@pytest.mark.usefixtures("a_browser")
def test_claims_run_only_when_their_file_or_their_marker_is_named(suites: Suites) -> None:
    tests = "import pytest\n@pytest.mark.claims\ndef test_claim(): pass\ndef test_other(): pass"
    suites.made(tests).assert_outcomes(passed=1, deselected=1)
    suites.made(tests, "-m", "claims").assert_outcomes(passed=1, deselected=1)
    suites.made(tests, "suites/test_made.py").assert_outcomes(passed=2)
    suites.made(tests, "suites/test_made.py::test_claim").assert_outcomes(passed=2)


def test_the_real_claims_are_left_out_of_the_suites(suites: Suites) -> None:
    assert not [line for line in suites.real().outlines if "test_claims.py" in line]
    found = suites.real("-m", "claims").outlines
    named = [line for line in found if "test_claims.py::" in line]
    assert named
    assert all(subject_of(line, PROFILES, ()).profile == "desktop" for line in named)


def test_a_and_b_are_compared_where_their_suite_is_named(suites: Suites) -> None:
    assert not [line for line in suites.real().outlines if "test_ab.py" in line]
    asked = f"--ab=runtime={NODE_MODULES},{NODE_MODULES}"
    found = suites.real(f"{SUITES}/test_ab.py", asked, "--runtime=wllama/wasm").outlines
    named = [line for line in found if "test_ab.py::" in line]
    assert len(named) == 2
    assert all(subject_of(line, PROFILES, ()).profile == "desktop" for line in named)


def test_a_and_b_must_be_said(suites: Suites) -> None:
    assert refusal(suites.real(f"{SUITES}/test_ab.py")) == (
        "suites/test_ab.py does not know what to compare\n"
        "  -> give it --ab browser=COMMAND,COMMAND or --ab runtime=FOLDER,FOLDER"
    )
    assert refusal(suites.real("--ab=browser=a,b")).startswith(
        "--ab is for suites/test_ab.py, which runs only where it is named"
    )
    text = refusal(suites.real(f"{SUITES}/test_ab.py", "--ab=browser=/nosuch,/nosuch"))
    assert text.startswith("--ab: /nosuch is no executable")


def test_the_comparison_is_printed_instead_of_its_loads(suites: Suites) -> None:
    tests = (
        "from harness.plugin import PLAN, RUN_ID\n"
        "from results.store import Store\n"
        "from tests.results.regressions.rounds import rounds\n"
        "def test_made(request):\n"
        "    run_id = request.config.stash[RUN_ID]\n"
        "    results = request.config.stash[PLAN].settings.trial.results\n"
        "    with Store.open(results) as store:\n"
        "        for record in rounds(6, 1.2):\n"
        "            store.add(record.model_copy(update={'run_id': run_id}))\n"
    )
    result = suites.made(tests)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["B: chromium 157.0.1", "*decode speed*0.833*regressed*"])
    result.stdout.no_fnmatch_line("*predicted*")


@pytest.mark.parametrize("rounds", ["0", "-1"])
def test_claims_take_rounds(suites: Suites, rounds: str) -> None:
    text = refusal(suites.real(f"--claim-rounds={rounds}"))
    assert text == f"--claim-rounds={rounds} must be at least 1"


@pytest.mark.usefixtures("a_browser")
def test_a_suite_chooses_its_devices(suites: Suites) -> None:
    tests = (
        "import pytest\n"
        "@pytest.mark.devices(where=lambda profile: profile.limits.cpus is not None)\n"
        "def test_cores(profile): pass"
    )
    result = suites.made(tests, "--device=desktop,desktop-half-core")
    result.assert_outcomes(passed=1, deselected=1)


@pytest.mark.usefixtures("a_browser")
def test_results_that_cannot_be_written_at_the_end(suites: Suites) -> None:
    result = suites.made(
        "from pathlib import Path\n"
        "def test_a(profile):\n"
        "    for path in Path('tierlab-results').iterdir(): path.write_text('gone ' * 100)\n"
    )
    assert result.ret != 0
    said = result.stderr.str() + result.stdout.str()
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    assert "-> choose another --results" in said


WORKERS = """
import os, pytest
from pathlib import Path
from harness.plugin import RUN_ID
@pytest.mark.parametrize("n", range(5))
def test_a(profile, n, request):
    with Path("log").open("a") as file:
        file.write(f"{profile.id} {os.environ['PYTEST_XDIST_WORKER']}"
                   f" {request.config.stash[RUN_ID]}\\n")
"""


@pytest.mark.integration
def test_one_worker_a_live_device(suites: Suites) -> None:
    """The profiles of this machine take turns on it; a phone has a worker of its own."""
    devices = ["desktop", "desktop-1g", "pixel7"]
    result = suites.by_workers(WORKERS, "-n", "auto", f"--device={','.join(devices)}")
    result.assert_outcomes(passed=15)
    lines = [line.split() for line in (suites.pytester.path / "log").read_text().splitlines()]
    workers = {d: {w for device, w, _ in lines if device == d} for d in devices}
    assert {len(its) for its in workers.values()} == {1}
    assert workers["desktop"] == workers["desktop-1g"] != workers["pixel7"]
    assert [[run] for run in suites.records_of_runs()] == [sorted({run for _, _, run in lines})]


TWO_PHONES = """
import os
from pathlib import Path
def note(profile, workload):
    with Path("log").open("a") as file:
        file.write(f"{workload.model} {os.environ['PYTEST_XDIST_WORKER']}\\n")
def test_a(profile, workload): note(profile, workload)
def test_b(profile, workload): note(profile, workload)
def test_c(profile, workload): note(profile, workload)
"""


@pytest.mark.integration
def test_two_phones_of_a_profile_share_its_workloads(suites: Suites) -> None:
    """Each workload stays on one worker, whose laboratory remembers its trials."""
    models = "--model=gemma-3-270m,gemma-2b,gemma-7b"
    result = suites.by_workers(
        TWO_PHONES, "-n", "auto", "--device=pixel7", models, "--runtime=wllama/wasm"
    )
    result.assert_outcomes(passed=9)
    lines = [line.split() for line in (suites.pytester.path / "log").read_text().splitlines()]
    by_model = {model: {w for m, w in lines if m == model} for model, _ in lines}
    assert {len(its) for its in by_model.values()} == {1}
    assert by_model["gemma-7b"] != by_model["gemma-2b"]  # the longest begin side by side


@pytest.mark.integration
def test_a_worker_takes_several_devices_one_by_one(suites: Suites) -> None:
    result = suites.by_workers(WORKERS, "-n", "1", "--device=desktop,desktop-1g")
    result.assert_outcomes(passed=10)
    lines = [line.split()[0] for line in (suites.pytester.path / "log").read_text().splitlines()]
    assert lines == sorted(lines) or lines == sorted(lines, reverse=True)


def test_the_suites_need_no_xdist(suites: Suites) -> None:
    result = suites.by_workers("def test_a(profile): pass", "-p", "no:xdist")
    result.assert_outcomes(passed=1)


@pytest.mark.usefixtures("a_browser")
def test_the_table_and_the_next_steps_are_printed(suites: Suites) -> None:
    with Store.open(suites.pytester.path / "tierlab-results") as store:
        store.start_run("run-1", "")
        store.add(
            record(
                explanation="\x1b[2J", judgement=Judgement.OVER_PROMISE, judgement_reason="\x1b[2J"
            )
        )
    result = suites.made(
        "from harness.plugin import RUN_ID\n"
        "def test_a(profile, request): request.config.stash[RUN_ID] = 'run-1'\n"
    )
    result.stdout.fnmatch_lines(
        ["*device*", "desktop *predicted*", "-> desktop, *: do not ship*", "raw evidence: *"]
    )
    assert "\x1b" not in result.stdout.str()


A_RECORD = """
from harness.plugin import RUN_ID
from results.store import Store
from tests.results.records import record
def test_a(profile, request):
    with Store.open(request.config.option.results) as store:
        store.add(record(run_id=request.config.stash[RUN_ID]))
"""


@pytest.fixture
def a_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """A website of one page."""

    def build(_: object, __: Path, target: Path, **___: object) -> Path:
        target.mkdir()
        (target / "index.html").touch()
        return target / "index.html"

    monkeypatch.setattr("results.matrix.make.build_site", build)


@pytest.mark.usefixtures("a_browser", "a_site")
@pytest.mark.parametrize("outcome", ["", "    assert False"])
def test_the_matrix_is_made_at_the_end(suites: Suites, outcome: str) -> None:
    result = suites.made(f"{A_RECORD}{outcome}", "--matrix")
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if outcome else pytest.ExitCode.OK)
    result.stdout.fnmatch_lines(
        ["raw evidence: *", "matrix: 1 cell from 1 trial", "matrix: file:///*/site/index.html"]
    )


@pytest.mark.usefixtures("a_browser", "a_site")
@pytest.mark.parametrize(
    "words", [[], ["--matrix", "--no-matrix"], ["--matrix", "--collect-only"]], ids=" ".join
)
def test_no_matrix_unless_it_is_asked_for(suites: Suites, words: list[str]) -> None:
    with Store.open(suites.pytester.path / "tierlab-results") as store:
        store.start_run("run-1", "")
        store.add(record())
    result = suites.made("def test_a(profile): pass", *words)
    result.stdout.no_fnmatch_line("*matrix: *")
    assert not (suites.pytester.path / "tierlab-results/matrix").exists()


@pytest.mark.usefixtures("a_browser")
def test_a_matrix_that_cannot_be_made_is_a_warning(
    suites: Suites, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("\x1b[2Jno more")

    monkeypatch.setattr("results.matrix.make.build_site", fail)
    result = suites.made(A_RECORD, "--matrix")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["the matrix was not made: *no more"])
    assert "\x1b" not in result.stdout.str()


def test_an_interrupted_run_ends_without_a_matrix(suites: Suites) -> None:
    result = suites.by_workers(f"{A_RECORD}    raise KeyboardInterrupt\n", "--matrix")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["raw evidence: *"])
    assert not (suites.pytester.path / "tierlab-results/matrix").exists()


@pytest.mark.usefixtures("a_browser")
def test_claims_and_response_times_of_the_run_are_printed(suites: Suites) -> None:
    at = datetime(2025, 1, 2, tzinfo=UTC)
    with Store.open(suites.pytester.path / "tierlab-results") as store:
        store.start_run("run-1", "")
        store.add(record())
        store.add_finding(assess(claims()[0], [record()], [record()], at))
        store.add_finding(measured_response([record()], at))
    result = suites.made(
        "from harness.plugin import RUN_ID\n"
        "def test_a(profile, request): request.config.stash[RUN_ID] = 'run-1'\n"
    )
    result.stdout.fnmatch_lines(
        ["*claim *figures *outcome*", f"*{claims()[0].text}*refuted*", "*workload *warm, s*"]
    )


def test_a_usable_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\necho Chromium 140.0.1\n")
    browser.chmod(0o755)
    monkeypatch.setenv("TIERLAB_BROWSER", str(browser))
    assert unusable(load_profiles()["desktop"], PlacesSettings()) is None
