"""The options of suites/test_native_binary.py, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.devices.android.binary.kinds import KINDS, RUN_SECONDS, BinarySpec, Parameters
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from harness.profiles import Profile

_MOST_CASES: Final = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """One case as it was asked for; `threads` None: the phone's fast cores."""

    threads: int | None
    prefill_batch: int | None
    context_tokens: int | None

    def __str__(self) -> str:
        parts = [f"{self.threads}t" if self.threads else "auto"]
        parts += [f"b{self.prefill_batch}"] if self.prefill_batch else []
        parts += [f"c{self.context_tokens}"] if self.context_tokens else []
        return "-".join(parts)


@dataclass(frozen=True, slots=True)
class BinaryPlan:
    """What is asked for.

    Attributes:
        spec: the user's files.
        cases: how the program is run, one after the other.
        prompt_tokens: of each.
        output_tokens: of each.
        repetitions: how often each is measured.
        within: seconds that each may take.
        model: id of the model, where the user says it.
    """

    spec: BinarySpec
    cases: tuple[Asked, ...]
    prompt_tokens: int
    output_tokens: int
    repetitions: int
    within: float
    model: str | None

    def parameters(self, asked: Asked, fast_cores: int) -> Parameters:
        """A case with the phone's own number of fast cores where none was asked for."""
        return Parameters(
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            threads=fast_cores if asked.threads is None else asked.threads,
            prefill_batch=asked.prefill_batch,
            context_tokens=asked.context_tokens,
            repetitions=self.repetitions,
        )


def add_options(group: pytest.OptionGroup) -> None:
    """Add the options that give a program and its model."""
    add = group.addoption
    add(
        "--binary",
        type=Path,
        metavar="PATH",
        help="a benchmark program for the phone, which suites/test_native_binary.py pushes and"
        f" runs: {', '.join(KINDS)}",
    )
    add("--binary-model", type=Path, metavar="PATH", help="the model file that it loads")
    add("--binary-kind", choices=KINDS, help="what the program is, where its name does not say it")
    add(
        "--binary-library",
        type=Path,
        action="append",
        metavar="PATH",
        help="a shared library that the program needs; may be given several times",
    )
    add(
        "--binary-threads",
        metavar="N[,N]",
        help="threads, several in turn (default: as many as the phone has fast cores)",
    )
    add("--binary-batch", metavar="N[,N]", help="tokens of a prompt that are computed at once")
    add("--binary-context", metavar="N[,N]", help="length of the key/value cache in tokens")
    add(
        "--binary-repetitions",
        type=int,
        default=3,
        metavar="N",
        help="how often each is measured (default: %(default)s)",
    )
    add(
        "--binary-timeout",
        type=float,
        default=RUN_SECONDS,
        metavar="SECONDS",
        help="how long one start of the program may take (default: %(default)g)",
    )


def binary_plan(config: pytest.Config, profiles: Sequence[Profile]) -> BinaryPlan | None:
    """The plan that the options ask for; None where no program is given.

    Raises:
        UserError: an option is missing or says nothing that can be done, or no device is a phone.
    """
    option = config.option
    if option.binary is None:
        if option.binary_model is not None:
            raise UserError("--binary-model without --binary", "give the program as well")
        return None
    if option.binary_model is None:
        raise UserError("--binary without --binary-model", "give the model file that it loads")
    files = (option.binary, option.binary_model, *(option.binary_library or ()))
    if absent := next((path for path in files if not path.is_file()), None):
        raise UserError(f"there is no file {absent}", "look at the path")
    if not any(profile.kind == "android" for profile in profiles):
        raise UserError(
            "--binary is for phones, and no --device of this run is one",
            "add for example --device=pixel7",
        )
    if not 0 < option.binary_timeout < float("inf"):
        raise UserError(f"--binary-timeout={option.binary_timeout:g} must be above 0, and finite")
    cases = tuple(
        Asked(*case)
        for case in product(
            _numbers("--binary-threads", option.binary_threads),
            _numbers("--binary-batch", option.binary_batch),
            _numbers("--binary-context", option.binary_context),
        )
    )
    if len(cases) > _MOST_CASES:
        raise UserError(f"{len(cases)} cases are more than one run can take", "ask for fewer")
    models: list[str] = option.model or []
    if len(models) > 1:
        raise UserError("--binary-model is one model, and several are named", "name one --model")
    plan = BinaryPlan(
        spec=BinarySpec(
            binary=option.binary,
            model=option.binary_model,
            libraries=tuple(option.binary_library or ()),
            kind=option.binary_kind,
        ),
        cases=cases,
        prompt_tokens=option.prompt_tokens,
        output_tokens=option.output_tokens,
        repetitions=option.binary_repetitions,
        within=option.binary_timeout,
        model=models[0] if models else None,
    )
    for case in cases:
        plan.parameters(case, fast_cores=1)  # says now what is wrong with a number
    return plan


def _numbers(name: str, text: str | None) -> list[int | None]:
    """The numbers of an option with commas, each once; [None] where it was not given."""
    if text is None:
        return [None]
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isdecimal() and len(word) < 8 for word in words):  # noqa: PLR2004
        raise UserError(f"{name}={text} is no list of numbers", f"write for example {name}=2,4")
    return list(dict.fromkeys(int(word) for word in words))
