"""Recorded answers: what is written is read again, and what cannot be is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.emulation.capture.dumps import (
    FILE_NAME,
    INDEX,
    LARGEST_FILE,
    PLACEHOLDERS,
    Dump,
    file_name,
    read_dumps,
    without_placeholders,
    write_dumps,
)
from harness.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=200)
DUMPS = st.lists(
    st.builds(
        Dump,
        command=TEXT,
        text=TEXT.map(without_placeholders),
        exit_code=st.integers(0, 255),
        seconds=st.integers(0, 10_000).map(lambda n: n / 1000),
        replay=st.booleans(),
    ),
    unique_by=lambda dump: dump.command,
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dumps=DUMPS)
def test_what_was_written_is_read_again(
    dumps: list[Dump], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("dumps")
    write_dumps(directory, dumps, captured="2026-03-14")
    assert read_dumps(directory) == {dump.command: dump for dump in dumps}


@given(TEXT)
def test_a_files_name_is_plain_whatever_the_command(command: str) -> None:
    assert FILE_NAME.fullmatch(file_name(command))


@given(TEXT)
def test_a_phones_own_braces_are_no_placeholder(text: str) -> None:
    for name in PLACEHOLDERS:
        dump = Dump("x", without_placeholders(f"{text}{{{{{name}}}}}{text}"))
        assert not dump.placeholders


def test_placeholders_get_their_values() -> None:
    dump = Dump("dumpsys battery", "  level: {{battery.level}}\n  scale: 100 {{x}} {{ battery }}\n")
    assert dump.render({"battery.level": "87"}) == "  level: 87\n  scale: 100 {{x}} {{ battery }}\n"
    with pytest.raises(KeyError):
        dump.render({})


def test_a_phone_that_was_not_captured_has_no_dumps(tmp_path: Path) -> None:
    assert read_dumps(tmp_path / "nothing") == {}


ENTRY = 'command = "a"\nfile = "a.txt"\nexit_code = 0\nseconds = 0.1\nreplay = true\n'


@pytest.mark.parametrize(
    ("index", "said"),
    [
        pytest.param("schema = 2", "schema is 2; this version reads 1", id="schema"),
        pytest.param("= 1", "is not valid TOML", id="not TOML"),
        pytest.param("schema = 1\ndump = 3", "write [[dump]]", id="no list"),
        pytest.param(f"schema = 1\n[[dump]]\n{ENTRY}x = 1", "dump 1: is not a dump", id="more"),
        pytest.param("schema = 1\n[[dump]]\ncommand = 'a'", "dump 1: is not a dump", id="less"),
        pytest.param(
            f"schema = 1\n[[dump]]\n{ENTRY}[[dump]]\n{ENTRY}",
            "dump 2: 'a' is there twice",
            id="twice",
        ),
        pytest.param(
            f"schema = 1\n[[dump]]\n{ENTRY}".replace("a.txt", "../a.txt"),
            "'../a.txt' is not a plain file name",
            id="outside",
        ),
        pytest.param(
            f"schema = 1\n[[dump]]\n{ENTRY}".replace("a.txt", "b.txt"),
            "cannot be read",
            id="missing",
        ),
        pytest.param(
            f"schema = 1\n[[dump]]\n{ENTRY}".replace("a.txt", "strange.txt"),
            "unknown placeholder 'battery.levle'",
            id="placeholder",
        ),
        pytest.param(
            f"schema = 1\n[[dump]]\n{ENTRY}".replace("a.txt", "large.txt"),
            "is larger than",
            id="large",
        ),
    ],
)
def test_mistakes_are_told(tmp_path: Path, index: str, said: str) -> None:
    (tmp_path / "a.txt").write_text("A\n")
    (tmp_path / "strange.txt").write_text("{{battery.levle}}\n")
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    (tmp_path / INDEX).write_text(index)
    with pytest.raises(UserError, match=r".+") as raised:
        read_dumps(tmp_path)
    assert said in str(raised.value)
