"""Apps with Core ML: what their descriptions may say; one prompt, as far as the protocol goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from harness.devices.ios.apps import IosApp, load_ios_apps
from harness.devices.ios.device import open_ios
from harness.devices.ios.native_app import Question, run_ios_app
from harness.devices.ios.settings import IosSettings
from harness.errors import UserError
from harness.profiles import load_profiles
from results.record import Verdict
from tests.harness.devices.ios.pages import ActedPage
from tests.harness.devices.ios.test_reports import jetsam
from tests.harness.devices.ios.xcuitest import Xcuitest, serve

if TYPE_CHECKING:
    from pathlib import Path

    from results.record import Record

APP: dict[str, Any] = {
    "id": "chat",
    "name": "A chat",
    "bundle_id": "org.example.Chat-App",
    "process": "ChatApp",
    "obtain": "the shop",
    "models": [{"label": "Gemma", "model": "gemma-3-1b-it", "quantisation": "int4"}],
    "load": {"steps": [{"tap": {"description": "{model}"}}], "ready": {"class_name": "Field"}},
    "ask": {
        "steps": [
            {"type": {"class_name": "Field"}, "text": "{prompt}"},
            {"tap": {"description": "send"}},
        ]
    },
    "output": {"find": {"xpath": "//Text[@name='answer']"}, "finished": {"description": "done"}},
    "figures": [
        {
            "name": "decode_tokens_per_s",
            "find": {"description": "speed"},
            "pattern": "(?P<value>[0-9.]+) tok/s",
            "unit": "tokens/s",
        }
    ],
}
QUESTION = Question(prompt="hello", prompt_tokens=1, output_tokens=8)


def test_the_shipped_descriptions_are_valid_and_say_what_is_not_verified() -> None:
    apps = load_ios_apps()
    assert "coreml-llm-chat" in apps
    assert all(app.unverified for app in apps.values())
    assert apps["coreml-llm-chat"].runtime == "app/coreml-llm-chat"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bundle_id": "chat"}, "bundle_id"),
        ({"activity": ".Main"}, "activity"),
        ({"output": {**APP["output"], "find": {"text": "answer"}}}, "iOS has no text"),
        ({"load": {"steps": [{"tap": {"description": "x"}, "scroll": True}]}}, "scroll"),
    ],
)
def test_what_only_android_has_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        IosApp.model_validate({**APP, **changes})


def ask(double: Xcuitest, folder: Path) -> tuple[Record, str]:
    """One prompt in the app, on a device that is the double."""

    async def work() -> tuple[Record, str]:
        profile = load_profiles()["iphone-15-pro"]
        async with asyncio.timeout(60), serve(double) as url:
            settings = IosSettings(url, "a-serial-number", None, None, {})
            async with open_ios(profile, settings) as device:
                app = IosApp.model_validate(APP)
                return await run_ios_app(device, app, QUESTION, results=folder, run_id="r")

    return asyncio.run(work())


def screen(double: Xcuitest, *, dies: bool = False) -> None:
    """An app that answers at once, or is not there any more when it is asked."""

    def load() -> None:
        double.screen["Field"] = [{"text": ""}]
        double.screen["send"] = [{"text": "send", "then": die if dies else answer}]

    def answer() -> None:
        double.screen["//Text[@name='answer']"] = [{"text": "a b c d"}]
        double.screen["done"] = [{"text": "(last)"}]
        double.screen["speed"] = [{"text": "12.5 tok/s"}]

    def die() -> None:
        double.screen.clear()
        double.app_state = 1
        double.reports = [jetsam("ChatApp")]

    double.screen["Gemma"] = [{"text": "Gemma", "then": load}]


def test_an_app_is_asked_and_its_figures_are_read(tmp_path: Path) -> None:
    double = Xcuitest(ActedPage())
    screen(double)
    record, output = ask(double, tmp_path)
    assert (record.verdict, output) == (Verdict.OK, "a b c d")
    assert double.typed == ["hello"]
    assert double.sessions[-1]["appium:bundleId"] == "org.example.Chat-App"
    assert record.measurement is not None
    assert record.measurement.decode_tokens_per_s == pytest.approx(12.5)
    assert record.workload.runtime == "app/chat"
    assert record.device.kind == "ios"
    assert not record.device.emulated
    assert "a-serial-number" not in record.model_dump_json()


def test_an_app_that_ios_ended_for_memory_is_an_oom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.devices.ios.native_app._LOOK_SECONDS", 0.02)
    double = Xcuitest(ActedPage())
    screen(double, dies=True)
    record, _ = ask(double, tmp_path)
    assert (record.verdict, record.cause) == (Verdict.OOM, "low-memory-killer")
    assert "jetsam: per-process-limit" in record.explanation
    assert record.measurement is not None
    assert record.measurement.memory.processes == {"engine": 1400 << 20}
    assert any(name.endswith(".ips") for name in record.files)


def test_a_hot_device_is_not_asked(tmp_path: Path) -> None:
    double = Xcuitest(ActedPage())
    double.device["thermalState"] = 3
    record, _ = ask(double, tmp_path)
    assert record.verdict is Verdict.INFRA
    assert "thermal state is critical" in record.explanation
    assert all("appium:bundleId" not in wanted for wanted in double.sessions)


def test_an_app_that_is_not_there_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"install org.example.Chat-App"):
        ask(Xcuitest(ActedPage(), installed=False), tmp_path)
