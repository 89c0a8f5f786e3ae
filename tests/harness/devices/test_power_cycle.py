from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from harness.devices.power_cycle import PowerCycle, power_cycle
from harness.devices.recovery import RungFailedError
from harness.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


def python(code: str, *words: str) -> PowerCycle:
    return PowerCycle((sys.executable, "-c", code, *words))


def run(command: PowerCycle, *, within: float = 30.0) -> str:
    return asyncio.run(command.run("1A2B", within=within))


def test_its_words_are_said_in_one_harmless_line() -> None:
    said = run(python("print('port 2: off\\nport 2: \\x1b[2Jon')"))
    assert said.endswith(" said: port 2: off port 2: \N{REPLACEMENT CHARACTER}[2Jon")


def test_no_shell_reads_it_and_it_learns_the_serial() -> None:
    said = run(python("import sys; print(sys.argv[1:])", "{serial}", "a; b", "$HOME", "*"))
    assert said.endswith(" said: ['1A2B', 'a; b', '$HOME', '*']")


def test_it_has_no_input() -> None:
    assert run(python("import sys; print(repr(sys.stdin.read()))")).endswith(" said: ''")


def test_a_failure_says_what_it_said_and_how_to_try_it() -> None:
    with pytest.raises(RungFailedError) as raised:
        run(python("import sys; print('no such hub', file=sys.stderr); sys.exit(3)"))
    told = str(raised.value)
    assert "ended with exit code 3; it said: no such hub; try it by hand: " in told


def test_a_program_that_is_gone() -> None:
    with pytest.raises(RungFailedError, match="cannot be started: No such file or directory"):
        run(PowerCycle(("/no/such/uhubctl",)))


def test_one_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import pathlib, subprocess, sys;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid));"
        "print('waiting', flush=True); child.wait()"
    )
    with pytest.raises(RungFailedError, match=r"did not end within 3 s; it said: waiting"):
        run(python(code), within=3)
    psutil.wait_procs([psutil.Process(pid) for pid in _alive(note)], timeout=10)
    assert _alive(note) == []


def _alive(note: Path) -> list[int]:
    pid = int(note.read_text())
    if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
        return []
    return [pid]


def test_one_that_talks_much_is_heard_in_part() -> None:
    said = run(python("print('x' * (1 << 20)); print('the end')"))
    assert len(said) < 1000


# ---- the option ----


def test_the_option_is_read_as_words() -> None:
    found = power_cycle("true -l 1-1 -p 2 -a 'cy cle'", serial="1A2B")
    assert found == PowerCycle(("true", "-l", "1-1", "-p", "2", "-a", "cy cle"))
    assert power_cycle(None, serial=None) is None


def test_one_command_for_all_phones_must_tell_them_apart() -> None:
    assert power_cycle("true {serial}", serial=None) == PowerCycle(("true", "{serial}"))
    with pytest.raises(UserError, match="the same port for every phone\n  -> name the one phone"):
        power_cycle("true -p 2", serial=None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "names no command"),
        ("'", "cannot be read"),
        ("no-such-program x", "no-such-program is no program on this machine"),
    ],
)
def test_what_is_no_command_is_refused_before_the_run(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=re.escape(problem)):
        power_cycle(text, serial="1A2B")
