"""The bootstrapper, run for real on a copy of its inputs, with stand-ins for Python, npm and apt.

Nothing here needs a network: the stand-ins note how they were called in the file `calls`, and leave
behind what the real ones would. CI covers the real ones: it runs `./lab test` in a clean clone.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
INPUTS = ("lab", "pyproject.toml", "package-lock.json", "requirements")
TOOLS = ("sh", "cat", "chmod", "cmp", "cp", "dirname", "id", "mkdir", "rm", "sed", "tail", "touch")
DEADLINE_S = 60

PYTHON = f"""#!/bin/sh
case "$*" in -c*) exec {sys.executable} "$@" ;; esac
echo "python $*" >>calls
case "$*" in
    --version) echo "Python 3.99.0" ;;
    "-m venv .venv-ansible")
        mkdir -p .venv-ansible/bin
        cp "$0" .venv-ansible/bin/python ;;
    "-m venv .venv")
        mkdir -p .venv/bin .venv/lib/python3.99/site-packages/playwright/driver/package
        cp "$0" .venv/bin/python
        for tool in ruff mypy shellcheck tierlab; do
            printf '#!/bin/sh\\necho "%s $*" >>calls; [ ! -e %s-fails ]\\n' $tool $tool \\
                >.venv/bin/$tool
            chmod +x .venv/bin/$tool
        done
        printf '{{\\n"name": "chromium",\\n"revision": "42",\\n}}\\n' \\
            >.venv/lib/python3.99/site-packages/playwright/driver/package/browsers.json ;;
    *pip*install*requirements/node.txt*)
        printf '#!/bin/sh\\necho node >>calls\\n' >.venv/bin/node
        printf '#!/bin/sh\\necho "npm of .venv $*" >>calls; mkdir "$3/node_modules"\\n' \\
            >.venv/bin/npm
        chmod +x .venv/bin/node .venv/bin/npm ;;
    *pip*install*)
        if [ -e pip-is-killed ]; then rm pip-is-killed; touch .venv/half; kill -9 $PPID; fi
        [ ! -e pip-fails ] || {{ echo "no such host"; exit 1; }} ;;
    "-m playwright install chromium") [ -e playwright-works ] ;;
    "-m pytest"*) [ ! -e pytest-fails ] || exit 5 ;;
esac
"""
OLD_PYTHON = '#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit\nexit 1\n'
NPM = '#!/bin/sh\necho "npm $*" >>calls\nmkdir -p "$3/node_modules"\n'
APT = """#!/bin/sh
echo "apt-get $*" >>calls
case "$*" in *" chromium") cp "$0" "$BIN/chromium" ;; esac
"""
NOTHING = "#!/bin/sh\n"
PEERS = ("influxd", "adb", "mksh", "toybox", "chromedriver")


@dataclass
class Checkout:
    """A copy of what `lab` works on, and the only programs that it can see."""

    root: Path
    bin: Path

    def has(self, name: str, script: str = NOTHING) -> None:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(script)
        path.chmod(0o755)

    def lacks(self, name: str) -> None:
        (self.bin / name).unlink()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.root / "lab", *arguments],
            cwd=self.root.parent,
            env={"PATH": str(self.bin), "BIN": str(self.bin), "HOME": str(self.root.parent)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lab(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def calls(self) -> list[str]:
        """What was called since the last time."""
        path = self.root / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "a checkout"
    root.mkdir()
    for name in INPUTS:
        if (ROOT / name).is_dir():
            # What was installed here is nothing that a fresh checkout has.
            installed = shutil.ignore_patterns("node_modules")
            shutil.copytree(ROOT / name, root / name, ignore=installed)
        else:
            shutil.copy(ROOT / name, root / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (programs / tool).symlink_to(found)
    made = Checkout(root, programs)
    made.has("python3", PYTHON)
    made.has("node")
    made.has("npm", NPM)
    made.has("chromium")
    for peer in PEERS:
        made.has(peer)
    return made


@pytest.fixture
def no_browser(checkout: Checkout) -> Checkout:
    """A checkout on a machine without a browser, not as root."""
    names = ("Google Chrome", "Chromium", "Microsoft Edge")
    if any(Path(f"/Applications/{name}.app").exists() for name in names):
        pytest.skip("this Mac has a browser in /Applications, which cannot be hidden")
    checkout.lacks("chromium")
    checkout.has("id", "#!/bin/sh\necho 1000\n")
    return checkout


# ---- commands ----


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_names_the_commands_and_sets_nothing_up(checkout: Checkout, word: str) -> None:
    done = checkout.lab(word)
    assert done.returncode == 0
    for command in ("run", "suites", "tierlab", "test", "setup"):
        assert f"\n  {command} " in done.stdout
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize("arguments", [["tests"], []])
def test_an_unknown_command_is_refused_before_any_set_up(
    checkout: Checkout, arguments: list[str]
) -> None:
    done = checkout.lab(*arguments)
    assert done.returncode == 2
    assert ("unknown command: tests" in done.stderr) == bool(arguments)
    assert "Usage: ./lab" in done.stderr
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (["run", "--model", "a b"], "tierlab run --model a b"),
        (["tierlab", "devices"], "tierlab devices"),
        (["suites", "--device=mine"], "python -m pytest suites --device=mine"),
    ],
)
def test_a_command_runs_after_the_set_up(
    checkout: Checkout, arguments: list[str], called: str
) -> None:
    done = checkout.lab(*arguments)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert checkout.calls()[-1] == called


def test_the_exit_code_is_that_of_the_command(checkout: Checkout) -> None:
    (checkout.root / "tierlab-fails").touch()
    assert checkout.lab("run").returncode == 1


# ---- checks ----


def test_test_runs_all_checks_and_then_the_tests(checkout: Checkout) -> None:
    assert checkout.lab("test", "-k", "one").returncode == 0
    assert checkout.calls()[-5:] == [
        "ruff check",
        "ruff format --check",
        "mypy ",
        "shellcheck lab .ci/run requirements/lock.sh ansible/roles/lab_host/files/in-subgroup",
        "python -m pytest -k one",
    ]


def test_failed_checks_are_named_and_the_tests_still_run(checkout: Checkout) -> None:
    (checkout.root / "ruff-fails").touch()
    done = checkout.lab("test")
    assert done.returncode == 1
    assert "checks have failed: ruff check, ruff format --check;" in done.stderr
    assert checkout.calls()[-2:] == [
        "python -m pytest -m not integration -n logical --dist=loadfile",
        "python -m pytest -m integration -n 2 --dist=loadfile --no-loadscope-reorder",
    ]


@pytest.mark.parametrize("failing", [["pytest-fails"], ["pytest-fails", "mypy-fails"]])
def test_the_exit_code_of_failing_tests_is_kept(checkout: Checkout, failing: list[str]) -> None:
    for name in failing:
        (checkout.root / name).touch()
    assert checkout.lab("test").returncode == 5


@pytest.mark.parametrize(("user", "calls"), [(0, 2), (1000, 0)])
def test_missing_peers_of_the_tests_are_installed_where_apt_may(
    checkout: Checkout, user: int, calls: int
) -> None:
    checkout.lacks("influxd")
    checkout.lacks("chromedriver")
    checkout.has("id", f"#!/bin/sh\necho {user}\n")
    checkout.has("apt-get", APT)
    assert checkout.lab("test").returncode == 0
    apt = [call for call in checkout.calls() if call.startswith("apt-get")]
    assert len(apt) == calls
    wanted = "install -y --no-install-recommends influxdb chromium-driver"
    assert all(call.endswith(wanted) for call in apt[1:])


def test_appium_is_installed_for_the_tests_and_where_it_is_asked_for(checkout: Checkout) -> None:
    assert checkout.lab("setup").returncode == 0
    assert not any("appium" in call for call in checkout.calls())
    assert checkout.lab("setup", "--appium").returncode == 0
    (call,) = checkout.calls()
    assert call.startswith("npm ci --prefix requirements/appium --ignore-scripts")
    assert checkout.lab("test").returncode == 0
    assert not any("appium" in call for call in checkout.calls())


def test_a_controller_gets_buildbot_and_no_browser(no_browser: Checkout) -> None:
    done = no_browser.lab("setup", "--fleet", "--no-browser")
    assert done.returncode == 0, done.stderr
    calls = no_browser.calls()
    assert "requirements/fleet.txt" in calls[1]
    assert not any("playwright" in call for call in calls)
    assert no_browser.lab("setup", "--fleet", "--no-browser").stderr == ""


def test_ansible_is_installed_alone_and_in_an_environment_of_its_own(no_browser: Checkout) -> None:
    done = no_browser.lab("setup", "--ansible")
    assert done.returncode == 0, done.stderr
    made, installed = no_browser.calls()
    assert made == "python -m venv .venv-ansible"
    assert "--require-hashes" in installed
    assert installed.endswith("requirements/ansible.txt")
    assert not (no_browser.root / ".venv").exists()
    assert no_browser.lab("setup", "--ansible").stderr == ""


def test_an_unknown_option_of_the_set_up_is_refused(checkout: Checkout) -> None:
    done = checkout.lab("setup", "--apium")
    assert done.returncode == 1
    assert "unknown option of setup: --apium" in done.stderr
    assert checkout.calls() == []


# ---- set-up ----


def test_the_first_start_sets_everything_up_and_says_so(checkout: Checkout) -> None:
    done = checkout.lab("setup")
    assert done.returncode == 0, done.stderr
    calls = checkout.calls()
    assert [call.split()[:3] for call in calls] == [
        ["python", "-m", "venv"],
        ["python", "-m", "pip"],
        ["python", "-m", "pip"],
        ["npm", "ci", "--prefix"],
    ]
    assert "--require-hashes" in calls[1]
    assert "requirements/run.txt" in calls[1]
    assert calls[2].endswith("--no-deps --no-build-isolation --editable .")
    assert done.stderr.count("\n") == 5


def test_the_second_start_does_and_says_nothing(checkout: Checkout) -> None:
    checkout.lab("setup")
    checkout.calls()
    done = checkout.lab("setup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert checkout.calls() == []


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("requirements/run.txt", "python -m pip"),
        ("pyproject.toml", "python -m pip"),
        ("package-lock.json", "npm ci"),
    ],
)
def test_only_the_step_whose_input_changed_is_repeated(
    checkout: Checkout, changed: str, again: str
) -> None:
    checkout.lab("setup")
    checkout.calls()
    with (checkout.root / changed).open("a") as file:
        file.write("\n")
    assert checkout.lab("setup").returncode == 0
    (call,) = checkout.calls()
    assert call.startswith(again)


def test_run_does_not_install_what_only_the_checks_need(checkout: Checkout) -> None:
    checkout.lab("run")
    assert not any("dev.txt" in call for call in checkout.calls())
    checkout.lab("test")
    assert any("dev.txt" in call for call in checkout.calls())


def test_a_deleted_node_modules_is_installed_again(checkout: Checkout) -> None:
    checkout.lab("setup")
    checkout.calls()
    shutil.rmtree(checkout.root / "node_modules")
    assert checkout.lab("setup").returncode == 0
    assert [call.split()[0] for call in checkout.calls()] == ["npm"]


def test_a_moved_checkout_gets_a_new_environment(checkout: Checkout) -> None:
    checkout.lab("setup")
    checkout.calls()
    checkout.root = checkout.root.rename(checkout.root.with_name("elsewhere"))
    assert checkout.lab("setup").returncode == 0
    assert checkout.calls()[0] == "python -m venv .venv"


def test_an_environment_of_somebody_else_is_left_alone(checkout: Checkout) -> None:
    (checkout.root / ".venv/mine").mkdir(parents=True)
    done = checkout.lab("setup")
    assert done.returncode == 1
    assert "./lab did not make it" in done.stderr
    assert (checkout.root / ".venv/mine").exists()


def test_a_set_up_killed_in_mid_installation_is_made_anew(checkout: Checkout) -> None:
    (checkout.root / "pip-is-killed").touch()
    assert checkout.lab("run").returncode == -9
    assert (checkout.root / ".venv/half").exists()
    checkout.calls()
    done = checkout.lab("run")
    assert done.returncode == 0, done.stderr
    assert not (checkout.root / ".venv/half").exists()
    assert checkout.calls()[0] == "python -m venv .venv"
    assert checkout.lab("setup").stderr == ""


def test_a_failed_installation_shows_why_and_is_tried_again(checkout: Checkout) -> None:
    (checkout.root / "pip-fails").touch()
    done = checkout.lab("run")
    assert done.returncode == 1
    assert "no such host\nlab: pip could not install run" in done.stderr
    assert "-> check the network" in done.stderr
    (checkout.root / "pip-fails").unlink()
    assert checkout.lab("run").returncode == 0


def test_starts_side_by_side_set_up_once(checkout: Checkout) -> None:
    starts = [checkout.start("setup") for _ in range(4)]
    for process in starts:
        _, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, err
    calls = checkout.calls()
    assert sum("requirements/run.txt" in call for call in calls) == 1
    assert sum(call.startswith("npm") for call in calls) == 1


def test_a_start_waits_for_the_set_up_of_another(checkout: Checkout) -> None:
    lock = checkout.root / ".venv/.lab/.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = checkout.start("setup")
        assert process.stderr
        assert "waiting for it" in process.stderr.readline()
        assert checkout.calls() == []
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err


# ---- what the machine lacks ----


def test_without_python_it_says_what_to_install(checkout: Checkout) -> None:
    checkout.lacks("python3")
    done = checkout.lab("run")
    assert done.returncode == 1
    assert "Python 3.11 or newer; python3 is" in done.stderr
    assert "-> install it" in done.stderr


def test_a_python_that_is_too_old_is_named(checkout: Checkout) -> None:
    checkout.has("python3", OLD_PYTHON)
    done = checkout.lab("run")
    assert done.returncode == 1
    assert "python3 is Python 3.9.2" in done.stderr


def test_a_newer_python_beside_an_old_one_is_found(checkout: Checkout) -> None:
    checkout.has("python3", OLD_PYTHON)
    checkout.has("python3.12", PYTHON)
    assert checkout.lab("run").returncode == 0


def test_a_python_without_venv_is_named(no_browser: Checkout) -> None:
    no_browser.has("python3", PYTHON.replace("-c*)", "*ensurepip*) exit 1 ;; -c*)"))
    done = no_browser.lab("run")
    assert done.returncode == 1
    assert "its module venv or ensurepip is missing" in done.stderr
    assert "apt-get install python3-venv" in done.stderr


@pytest.mark.parametrize("missing", ["node", "npm"])
def test_without_node_a_locked_one_is_installed(checkout: Checkout, missing: str) -> None:
    checkout.lacks(missing)
    assert checkout.lab("setup").returncode == 0
    assert checkout.calls()[-1].startswith("npm of .venv ci --prefix . --ignore-scripts")
    assert checkout.lab("setup").stderr == ""


def test_without_any_browser_it_says_what_to_install(no_browser: Checkout) -> None:
    done = no_browser.lab("run")
    assert done.returncode == 1
    assert "no browser: tierlab needs Chrome, Chromium or Edge\n  -> install one" in done.stderr
    assert not any(call.startswith("tierlab") for call in no_browser.calls())


@pytest.mark.parametrize("name", ["google-chrome", "chromium-browser", "microsoft-edge"])
def test_any_browser_will_do(no_browser: Checkout, name: str) -> None:
    no_browser.has(name)
    assert no_browser.lab("setup").returncode == 0
    assert not any("playwright" in call for call in no_browser.calls())


@pytest.mark.parametrize(("revision", "found"), [("42", True), ("41", False)])
def test_the_browser_of_this_playwright_will_do(
    no_browser: Checkout, revision: str, found: bool
) -> None:
    browser = no_browser.root.parent / f".cache/ms-playwright/chromium-{revision}"
    browser.mkdir(parents=True)
    (browser / "INSTALLATION_COMPLETE").touch()
    assert (no_browser.lab("setup").returncode == 0) == found
    assert ("python -m playwright install chromium" in no_browser.calls()) != found


def test_playwright_installs_a_missing_browser(no_browser: Checkout) -> None:
    (no_browser.root / "playwright-works").touch()
    assert no_browser.lab("run").returncode == 0
    assert no_browser.calls()[-2:] == ["python -m playwright install chromium", "tierlab run"]


def test_where_playwright_cannot_root_takes_the_one_of_debian(no_browser: Checkout) -> None:
    no_browser.has("id", "#!/bin/sh\necho 0\n")
    no_browser.has("apt-get", APT)
    done = no_browser.lab("run")
    assert done.returncode == 0, done.stderr
    update, install, command = no_browser.calls()[-3:]
    assert update.endswith(" update")
    assert install.endswith(" chromium")
    assert command == "tierlab run"
