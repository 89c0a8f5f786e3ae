"""The shell script that runs a program on the phone, and what it says.

It starts the program, watches its memory from beside it (`/proc/PID/status` and `/proc/meminfo`,
proc(5)), and tells how it ended. It ends the program when nobody reads any more: adb's daemon sends
a shell whose connection is gone only a SIGHUP (AOSP packages/modules/adb/daemon/shell_service.cpp),
which a program in the background does not get.

Lines: `@ pid PID`, `@ mem RSS PEAK SWAP AVAILABLE` in kB, `@ exit CODE`. What the program prints
goes to two files, so that none of it can be taken for a line of these.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

OUT: Final = "stdout"
ERR: Final = "stderr"
PID: Final = "pid"
#: Often enough for a curve; the peak is the kernel's own high-water mark.
POLL_SECONDS: Final = 0.5
#: As shells tell of a process that a signal ended.
SIGNALLED: Final = 128
_LINE: Final = re.compile(r"@ (?P<what>pid|exit|mem)(?P<values>(?: -?\d{1,18}){1,4})\s*")


@dataclass(frozen=True, slots=True)
class Started:
    """The program runs, under this number."""

    pid: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: resident, the most that were resident, swapped out; and what the phone has left."""

    resident: int
    peak: int
    swapped: int
    available: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The program ended; `signal` is what ended it, or None."""

    exit_code: int

    @property
    def signal(self) -> int | None:
        """The signal that ended it."""
        return self.exit_code - SIGNALLED if self.exit_code > SIGNALLED else None


def run_script(directory: str, words: Sequence[str]) -> str:
    """The script.

    Args:
        directory: where the program is, on the phone; its output goes there too.
        words: the program and its arguments.
    """
    return f"""\
cd {shlex.quote(directory)} || exit 99
export LD_LIBRARY_PATH=. HOME=. TMPDIR=.
{shlex.join(words)} >{OUT} 2>{ERR} </dev/null &
p=$!
trap 'kill -9 $p; exit 98' HUP INT TERM PIPE
echo $p >{PID}
echo "@ pid $p"
(
  trap 'kill -9 $p; exit 98' PIPE
  while kill -0 $p 2>/dev/null; do
    r=0 h=0 s=0 a=0
    while read -r k v _; do
      case $k in VmRSS:) r=$v;; VmHWM:) h=$v;; VmSwap:) s=$v;; esac
    done 2>/dev/null </proc/$p/status
    while read -r k v _; do
      case $k in MemAvailable:) a=$v; break;; esac
    done </proc/meminfo
    if [ $h -gt 0 ]; then echo "@ mem $r $h $s $a" || {{ kill -9 $p; exit 98; }}; fi
    sleep {POLL_SECONDS} >/dev/null 2>&1
  done
) &
w=$!
wait $p
c=$?
kill $w 2>/dev/null
echo "@ exit $c"
"""


def read_line(line: str) -> Started | Memory | Ended | None:
    """What one line of the script says; None for any other line."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    values = [int(word) for word in found["values"].split()]
    match found["what"], values:
        case "pid", [pid] if pid > 0:
            return Started(pid)
        case "exit", [code] if 0 <= code < 2 * SIGNALLED:
            return Ended(code)
        case "mem", [_, _, _, _] if min(values) >= 0:
            return Memory(*(value * 1024 for value in values))
    return None


def kill_script(directory: str) -> str:
    """Ends every process whose working directory is `directory`, or the one of its `pid` file.

    A process number that was given away meanwhile is not ended: it works elsewhere.
    """
    there = shlex.quote(directory)
    return (
        f'for d in /proc/[0-9]*; do [ "$d/cwd" -ef {there} ] 2>/dev/null'
        ' && kill -9 "${d#/proc/}" 2>/dev/null; done; true'
    )
