from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness.devices.appium.app import APPS_DIRECTORY, App, find_app, load_app, load_apps
from harness.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
id = "chat"
name = "A chat"
package = "org.example.chat"
activity = ".Main"
apk = "the shop"
[[models]]
label = "Gemma"
model = "gemma-3-1b-it"
quantisation = "int4"
[load]
ready = { id = "prompt" }
[[load.steps]]
tap = { text = "{model}" }
[ask]
[[ask.steps]]
type = { id = "prompt" }
text = "{prompt}"
[[ask.steps]]
tap = { id = "send" }
[output]
find = { id = "answer" }
quiet_seconds = 2.0
[[figures]]
name = "decode_tokens_per_s"
find = { id = "speed" }
pattern = '(?P<value>[0-9.]+) t/s'
"""


def load(tmp_path: Path, text: str) -> App:
    path = tmp_path / "chat.toml"
    path.write_text(text, encoding="utf-8")
    return load_app(path)


@pytest.mark.parametrize("path", sorted(APPS_DIRECTORY.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_descriptions_are_valid_and_name_their_sources(path: Path) -> None:
    app = load_app(path)
    assert app.runtime == f"app/{path.stem}"
    for source in app.sources:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{7,40}:[\w./-]+", source), source
    # What a description was made from is its sources; whoever has seen it on a phone says so by
    # taking it out of `unverified`.
    known = {"load", "ask", "output", "failures", "figures"}
    assert set(app.unverified) <= known


def test_a_good_description_is_read(tmp_path: Path) -> None:
    app = load(tmp_path, GOOD)
    assert [step.action for step in app.ask.steps] == ["type", "tap"]
    assert app.model(None).model == "gemma-3-1b-it"
    assert app.load.ready is not None
    assert str(app.load.ready) == "id 'prompt'"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "answer"', 'idd = "answer"', "output.find.idd: unknown key; did you mean 'id'?"),
        ("[[figures]]", "[[figurs]]", "figurs: unknown key; did you mean 'figures'?"),
        ("pattern = '(?P<value>[0-9.]+) t/s'", "pattern = 'x+'",
         "figures.0.pattern: needs a group (?P<value>...) around the number"),
        ("pattern = '(?P<value>[0-9.]+) t/s'", "pattern = '('",
         "figures.0.pattern: is no regular expression"),
        ('name = "decode_tokens_per_s"', 'name = "speed"', "figures.0.name: input should be"),
        ("quiet_seconds = 2.0", "", "output: needs one of running, finished or quiet_seconds"),
        ('model = "gemma-3-1b-it"', 'model = "gemma-9-1b"',
         "models.0.model: unknown model 'gemma-9-1b'; did you mean"),
        ('text = "{prompt}"', "", "ask.steps.0: `text` is what `type` types: both or none"),
        ('tap = { id = "send" }', 'tap = { id = "send" }\nwait = { id = "x" }',
         "ask.steps.1: a step is one of tap, type or wait"),
        ('tap = { id = "send" }', 'tap = { id = "send", text = "Send" }',
         "ask.steps.1.tap: needs exactly one of"),
        ('package = "org.example.chat"', 'package = "chat; reboot"',
         "package: string should match"),
        ('id = "chat"', 'id = "other"', "id: is 'other', but the file is named 'chat'"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(UserError, match=re.escape(said)):
        load(tmp_path, GOOD.replace(old, new))


def test_an_app_is_found_by_its_id_or_its_file(tmp_path: Path) -> None:
    app = load(tmp_path, GOOD)
    assert find_app(str(tmp_path / "chat.toml")) == app
    assert find_app("chat", {"chat": app}) is app
    with pytest.raises(UserError, match="did you mean chat"):
        find_app("chatt", {"chat": app})
    with pytest.raises(UserError, match="unknown model of A chat 'Gemm'"):
        app.model("Gemm")
    assert set(load_apps()) >= {"mediapipe-llm-inference", "ai-edge-gallery"}
