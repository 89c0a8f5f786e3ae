from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.devices.android.binary.kinds import BinarySpec, Parameters
from harness.devices.android.binary.options import Asked, BinaryPlan, add_options, binary_plan
from harness.errors import UserError
from harness.profiles import load_profiles


class Group:
    """Collects options with their defaults."""

    def __init__(self) -> None:
        self.defaults: dict[str, Any] = {}

    def addoption(self, name: str, **given: Any) -> None:
        self.defaults[name.removeprefix("--").replace("-", "_")] = given.get("default")


def plan(**given: Any) -> BinaryPlan | None:
    """The plan of these options, the others as they are when nothing is given."""
    group = Group()
    add_options(group)  # type: ignore[arg-type]
    assert set(given) <= {*group.defaults, "model"}
    option = {**group.defaults, "model": None, "prompt_tokens": 16, "output_tokens": 8, **given}
    config = SimpleNamespace(option=SimpleNamespace(**option))
    return binary_plan(config, [load_profiles()["pixel7"]])  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("llama-bench", "m.gguf"):
        Path(name).touch()


BOTH = {"binary": Path("llama-bench"), "binary_model": Path("m.gguf")}


def test_without_a_program_there_is_no_plan() -> None:
    assert plan() is None


def test_a_program_and_a_model_are_enough() -> None:
    found = plan(**BOTH)
    assert found is not None
    assert found.spec == BinarySpec(Path("llama-bench"), Path("m.gguf"))
    assert [str(case) for case in found.cases] == ["auto"]
    assert found.parameters(found.cases[0], fast_cores=4) == Parameters(16, 8, threads=4)


def test_every_combination_is_a_case() -> None:
    found = plan(**BOTH, binary_threads="2,4, 2", binary_batch="64", binary_context="512,1024")
    assert found is not None
    assert [str(case) for case in found.cases] == [
        "2t-b64-c512",
        "2t-b64-c1024",
        "4t-b64-c512",
        "4t-b64-c1024",
    ]
    assert found.parameters(Asked(2, 64, 512), fast_cores=9) == Parameters(
        16, 8, threads=2, prefill_batch=64, context_tokens=512
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"binary": Path("x")}, "--binary without --binary-model"),
        ({"binary_model": Path("x")}, "--binary-model without --binary"),
        ({**BOTH, "binary": Path("lama-bench")}, "there is no file lama-bench"),
        ({**BOTH, "binary_model": Path("n.gguf")}, "there is no file n.gguf"),
        ({**BOTH, "binary_library": [Path("lib.so")]}, "there is no file lib.so"),
        ({**BOTH, "binary_threads": "four"}, "no list of numbers"),
        ({**BOTH, "binary_threads": ","}, "no list of numbers"),
        ({**BOTH, "binary_threads": "0"}, "threads = 0"),
        ({**BOTH, "binary_context": "10"}, "too short"),
        ({**BOTH, "binary_timeout": 0.0}, "must be above 0"),
        ({**BOTH, "binary_repetitions": 0}, "repetitions = 0"),
        ({**BOTH, "model": ["gemma-2b", "phi-2"]}, "name one --model"),
        ({**BOTH, "binary_threads": ",".join(map(str, range(1, 70)))}, "69 cases"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        plan(**given)
