"""The programs that are known: how one is recognised, called and read.

What a program understands differs by its version, so it is asked first (`--help`), and is told
only what it knows. What was asked for and is not known is an error, not a silent default.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from harness.devices.android.binary.litert_output import parse_litert_lm
from harness.devices.android.binary.llama_output import parse_llama_bench, parse_llama_timings
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.devices.android.binary.figures import Figures

KindName = Literal["llama-bench", "llama-completion", "litert-lm"]
KINDS: Final[tuple[KindName, ...]] = ("llama-bench", "llama-completion", "litert-lm")

#: By parts of a file's name, and then by words that only this program holds.
_BY_NAME: Final = (
    ("llama-bench", "llama-bench"),
    ("litert_lm", "litert-lm"),
    ("litert-lm", "litert-lm"),
    ("llama-completion", "llama-completion"),
    ("llama-cli", "llama-completion"),
)
_BY_CONTENT: Final = (
    (b"--n-prompt", "llama-bench"),
    (b"llama-bench", "llama-bench"),
    (b"benchmark_prefill_tokens", "litert-lm"),
    (b"litert_lm", "litert-lm"),
    (b"--n-predict", "llama-completion"),
)
#: How long one start of a program may take, unless the user says otherwise.
RUN_SECONDS: Final = 900.0
_OPTION: Final = re.compile(r"(?<![\w-])(--?[A-Za-z][\w-]{0,60})")
_MOST_HELP: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class BinarySpec:
    """What the user gives.

    Attributes:
        binary: the program, built for Android.
        model: its model file.
        libraries: files that are put beside the program, where the linker finds them.
        kind: name of its kind; None: as its name and content say.
    """

    binary: Path
    model: Path
    libraries: tuple[Path, ...] = ()
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Parameters:
    """How the program is run. These decide on a phone's processors, and go into the record.

    Attributes:
        prompt_tokens: of the prompt.
        output_tokens: that are generated.
        threads: of the processor.
        prefill_batch: how many tokens of a prompt are computed at once; None: the program's own.
        context_tokens: length of the key/value cache; None: what prompt and output take.
        repetitions: how often it is measured.
    """

    prompt_tokens: int
    output_tokens: int
    threads: int
    prefill_batch: int | None = None
    context_tokens: int | None = None
    repetitions: int = 3

    def __post_init__(self) -> None:
        numbers = {
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
            "threads": self.threads,
            "prefill_batch": self.prefill_batch,
            "context_tokens": self.context_tokens,
            "repetitions": self.repetitions,
        }
        for name, value in numbers.items():
            if value is not None and not 1 <= value < 1 << 20:
                raise UserError(f"{name} = {value} is no number for a program", "give 1 or more")
        least = self.prompt_tokens + self.output_tokens
        if self.context_tokens is not None and self.context_tokens < least:
            raise UserError(
                f"a context of {self.context_tokens} tokens is too short for a prompt of"
                f" {self.prompt_tokens} and an output of {self.output_tokens}",
                f"give at least {least}",
            )

    @property
    def label(self) -> str:
        """What tells records of one program apart, such as `4t-b64-c1024`."""
        parts = [f"{self.threads}t"]
        parts += [f"b{self.prefill_batch}"] if self.prefill_batch is not None else []
        parts += [f"c{self.context_tokens}"] if self.context_tokens is not None else []
        return "-".join(parts)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of program.

    Attributes:
        name: for `--binary-kind`.
        runtime: id of the runtime in records.
        help: makes it list its options; it may end with any exit code.
        arguments: from the model's path on the phone, the parameters and the options that it knows
            (None: not known) to its arguments.
        parse: from all that it printed (stdout, then stderr) to its figures.
    """

    name: KindName
    runtime: str
    help: str
    arguments: Callable[[str, Parameters, frozenset[str] | None], list[str]]
    parse: Callable[[str], Figures]


def _llama_bench(model: str, p: Parameters, known: frozenset[str] | None) -> list[str]:
    asked = ["-m", model, "-p", str(p.prompt_tokens), "-n", str(p.output_tokens)]
    asked += ["-t", str(p.threads), "-r", str(p.repetitions), "-o", "jsonl"]
    if p.prefill_batch is not None:
        asked += ["-b", str(p.prefill_batch), "-ub", str(p.prefill_batch)]
    if p.context_tokens is not None:
        # The cache is filled so far that the last token of the longer test is the context's last.
        depth = p.context_tokens - max(p.prompt_tokens, p.output_tokens)
        asked += ["-d", str(depth)]
    _refuse_unknown(asked, known)
    # A build with a GPU backend would use it; the record says CPU.
    return [*asked, *(["-ngl", "0"] if known is None or "-ngl" in known else [])]


def _llama_completion(model: str, p: Parameters, known: frozenset[str] | None) -> list[str]:
    asked = ["-m", model, "-n", str(p.output_tokens), "-t", str(p.threads)]
    # A word may be several tokens; the whole context of a model of today would take gigabytes.
    room = 4 * p.prompt_tokens + p.output_tokens + 64
    asked += ["-c", str(p.context_tokens or room)]
    if p.prefill_batch is not None:
        asked += ["-b", str(p.prefill_batch), "-ub", str(p.prefill_batch)]
    asked += ["-p", words(p.prompt_tokens)]
    _refuse_unknown(asked[:-1], known)
    wanted = ("--no-conversation", "--ignore-eos", "--no-display-prompt", "--perf")
    return [*asked, *(option for option in wanted if known is None or option in known)]


def _litert_lm(model: str, p: Parameters, known: frozenset[str] | None) -> list[str]:
    def knows(option: str) -> bool:
        return known is None or option in known

    asked = ["--backend=cpu", f"--model_path={model}"]
    if knows("--benchmark_prefill_tokens"):
        asked += [
            "--benchmark",
            f"--benchmark_prefill_tokens={p.prompt_tokens}",
            f"--benchmark_decode_tokens={p.output_tokens}",
        ]
    else:
        asked += [f"--input_prompt={words(p.prompt_tokens)}"]
    # Made-up tokens and streamed answers exclude each other in older versions.
    asked += ["--async=false"] if knows("--async") else []
    asked += [f"--num_cpu_threads={p.threads}"]
    asked += [f"--num_iterations={p.repetitions}"] if knows("--num_iterations") else []
    if p.prefill_batch is not None:
        asked += [f"--prefill_batch_sizes={p.prefill_batch}"]
    if p.context_tokens is not None:
        asked += [f"--max_num_tokens={p.context_tokens}"]
    peak = "--report_peak_memory_footprint"
    asked += [peak] if knows(peak) else []
    _refuse_unknown([word.partition("=")[0] for word in asked], known)
    return asked


_ALL: Final = {
    "llama-bench": Kind(
        "llama-bench", "llama.cpp/android-cpu", "--help", _llama_bench, parse_llama_bench
    ),
    "llama-completion": Kind(
        "llama-completion",
        "llama.cpp/android-cpu",
        "--help",
        _llama_completion,
        parse_llama_timings,
    ),
    # Abseil's --help shows the options of one source file only.
    "litert-lm": Kind(
        "litert-lm", "litert-lm/android-cpu", "--helpfull", _litert_lm, parse_litert_lm
    ),
}


def find_kind(path: Path, name: str | None = None) -> Kind:
    """The kind of a program: the one that is named, or what its name and content say.

    Raises:
        UserError: it is of no kind that is known.
    """
    if name is not None and name in _ALL:
        return _ALL[name]
    if name is None:
        for part, kind in _BY_NAME:
            if part in path.name.lower():
                return _ALL[kind]
        for mark, kind in _BY_CONTENT:
            if _holds(path, mark):
                return _ALL[kind]
    problem = f"unknown kind of program {name!r}" if name else f"{path} is of no kind that is known"
    raise UserError(problem, f"say which with --binary-kind: {', '.join(KINDS)}")


def known_options(help_text: str) -> frozenset[str] | None:
    """The options that a program's help lists; None where it lists none."""
    found = frozenset(_OPTION.findall(help_text[:_MOST_HELP]))
    return found or None


def words(count: int) -> str:
    """A prompt of about `count` tokens: a word is one, to every tokenizer of today."""
    return " ".join(["word"] * count)


def _refuse_unknown(asked: list[str], known: frozenset[str] | None) -> None:
    """Raise for an option that the program does not list."""
    if known is None:
        return
    missing = [word for word in asked if _OPTION.fullmatch(word) and word not in known]
    if missing:
        raise UserError(
            f"the program does not know {', '.join(missing)}",
            "take another version of it, or leave out the option that asks for it",
        )


def _holds(path: Path, mark: bytes) -> bool:
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return content.find(mark) >= 0
    except (OSError, ValueError):  # empty, or cannot be read: said elsewhere
        return False
