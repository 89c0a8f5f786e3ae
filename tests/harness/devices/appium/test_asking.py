from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness.devices.appium.asking import AskedApp, asked_apps, labels, prompt_of
from harness.errors import UserError
from harness.profiles import load_profiles
from tests.harness.devices.appium.screens import app

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = load_profiles()
TWO = app(
    models=[
        {"label": label, "model": "gemma-3-1b-it", "quantisation": "int4"}
        for label in ("Gemma CPU", "Gemma GPU")
    ]
)


def asked(*names: str, devices: tuple[str, ...] = ("pixel7",), **changes: Any) -> list[AskedApp]:
    option = {
        "app": list(names), "app_apk": None, "app_prompt": None,
        "prompt_tokens": 16, "output_tokens": 8, **changes,
    }  # fmt: skip
    config: Any = SimpleNamespace(option=SimpleNamespace(**option))
    return list(asked_apps(config, [PROFILES[name] for name in devices]))


def test_each_model_that_is_named_is_asked_once() -> None:
    found = asked("llm-sample", "llm-sample:Tiny*", "llm-sample:Broken")
    assert [str(each) for each in found] == ["llm-sample-Tiny_1B_int4", "llm-sample-Broken"]
    assert (found[0].question.prompt_tokens, found[0].question.output_tokens) == (16, 8)
    assert asked() == []


def test_the_first_model_is_meant_where_none_is_named() -> None:
    assert labels(TWO, "") == ["Gemma CPU"]
    assert labels(TWO, "*GPU") == ["Gemma GPU"]
    with pytest.raises(UserError, match="unknown model of A chat 'Gemma TPU'"):
        labels(TWO, "Gemma TPU")


def test_an_app_needs_a_phone_and_its_apk_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no --device of this run is one"):
        asked("llm-sample", devices=("desktop",))
    with pytest.raises(UserError, match="is no file"):
        asked("llm-sample", app_apk=tmp_path / "app.apk")
    with pytest.raises(UserError, match="unknown app 'llm-sampel'"):
        asked("llm-sampel")


def test_the_prompt_is_as_long_as_asked_for_or_the_users() -> None:
    assert len(prompt_of(1).split()) == 1
    assert len(prompt_of(400).split()) == 300
    (found,) = asked("llm-sample", app_prompt="Hello?")
    assert found.question.prompt == "Hello?"
