"""What of a text is published."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.matrix.redact import LONGEST_TEXT, Redactor

if TYPE_CHECKING:
    from pydantic import JsonValue

REDACTOR = Redactor(
    folders=["/data/lab results", "/home/ann"], words=["lab-host-7", "ann", "root", ""]
)

# Of each text, what must be gone and what is left.
CASES = [
    (
        "cannot open /home/ann/models/gemma.onnx: no such file",
        "cannot open …/gemma.onnx: no such file",
    ),
    ("/home/bob lee/x/model.gguf is missing", "…/model.gguf is missing"),
    ("in /Users/bob/Library/Caches/x.bin", "in …/x.bin"),
    ("at file:///Users/bob/page/index.js:3:7", "at file://…/index.js:3:7"),
    ("kept in /data/lab results/trials/7/console.log", "kept in …/console.log"),
    ("mmap of '/var/tmp/tierlab-x1/profile' failed", "mmap of '…/profile' failed"),
    ("~/models/a.onnx", "…/a.onnx"),
    (r"C:\Users\Bob Lee\models\a.onnx failed", "…/a.onnx failed"),
    (r"D:\lab\models\a.onnx failed", "…/a.onnx failed"),
    (r"\\fileserver\share\models\a.onnx", "…/a.onnx"),
    ("lab-host-7: out of memory", "<name>: out of memory"),
    ("owner Ann, group staff", "owner <name>, group staff"),
    ("HOME=/x USER=bob HF_TOKEN=hf_abc123 done", "HOME=… USER=… HF_TOKEN=… done"),
    ("Authorization: Bearer abcdefgh.ijkl", "Authorization: Bearer …"),
    ("https://bob:secret@example.org/a/model.onnx", "https://example.org/a/model.onnx"),
    ("GET https://example.org/a/m.onnx?X-Sig=abc#frag: 403", "GET https://example.org/a/m.onnx"),
    ("connect to 192.168.1.20:5555 and 10.0.0.7", "connect to <address>:5555 and <address>"),
    ("from fe80:1:2:3 or aa:bb:cc:dd:ee:ff", "from <address> or <address>"),
    ("write to bob.lee@lab.example.org", "write to <address>"),
]

# What must not be touched: the words of engines, and everything that is no path.
UNTOUCHED = [
    "memory access out of bounds at http://127.0.0.1:40123/npm/@wllama/wllama/esm/index.js:12:5",
    "wllama/wasm and/or onnxruntime-web/webgpu, 16/8 tokens",
    "ANGLE (Intel, Mesa Intel(R) UHD Graphics/PCIe/SSE2, OpenGL 4.6)",
    "RangeError: Array buffer allocation failed",
    "Aborted(). Build with -sASSERTIONS for more info.",
    "RuntimeError: unreachable; root cause: ratio 3:4, 5 GB / 2 s",
    "Chromium 156.0.8078.108",
    "annotation of planned layers",
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_private_things_go(text: str, expected: str) -> None:
    assert REDACTOR.text(text).startswith(expected)


@pytest.mark.parametrize("text", UNTOUCHED)
def test_everything_else_stays(text: str) -> None:
    assert REDACTOR.text(text) == text


def test_inside_of_values() -> None:
    detail: dict[str, JsonValue] = {
        "message": "no /home/ann/x/y",
        "tokens": 8,
        "token": 3,
        "hostname": "a",
        "env": {"A": "b"},
        "HF_TOKEN": "hf_x",
        "serial_no": "R5CT",
        "lines": ["/opt/a/b", {"user": "x", "deep": ["ann"]}],
    }  # fmt: skip
    assert REDACTOR.value(detail) == {
        "message": "no …/y",
        "tokens": 8,
        "token": 3,
        "lines": ["…/b", {"deep": ["<name>"]}],
    }


def test_values_are_bounded() -> None:
    nested: JsonValue = ["bottom"]
    for _ in range(50):
        nested = [nested]
    assert "bottom" not in str(REDACTOR.value(nested))
    many = REDACTOR.value(list(range(10_000)))
    assert isinstance(many, list)
    assert len(many) == 200


@given(st.text(max_size=200))
def test_any_text_becomes_one_line(text: str) -> None:
    shown = REDACTOR.text(text)
    assert shown.isprintable() or not set(shown) & set("\n\r\t\x00\x1b\x9b")
    assert len(shown) <= LONGEST_TEXT + 1


@pytest.mark.parametrize(
    "unit", ["a.", "://", "/a", "a@", "A_", "/home/", "\\\\a", "fe80:", "C:\\", "?"]
)
def test_a_hostile_text_costs_no_more_than_its_length(unit: str) -> None:
    began = time.process_time()
    REDACTOR.text(unit * 1_000_000)
    assert time.process_time() - began < 5, "a slow machine takes a tenth of a second"


def test_this_machine_is_known(tmp_path: Path) -> None:
    redactor = Redactor.of_this_machine(tmp_path / "results", ["box-1"])
    home = Path.home()
    assert redactor.text(f"box-1: {tmp_path}/results/trials/1/a.log") == "<name>: …/a.log"
    assert str(home) not in redactor.text(f"{home}/x/y and {Path.cwd()}/z")


def test_a_folder_of_everything_is_no_folder() -> None:
    assert Redactor(["/"], []).text("a / b") == "a / b"
