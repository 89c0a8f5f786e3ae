"""Device profiles: those that are shipped, and how mistakes in one are told."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.emulation.limits import Limits
from harness.errors import UserError
from harness.profiles import PROFILES_DIRECTORY, Profile, load_profile, load_profiles, select
from tests.other_users import let_in

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
id = "pad"
name = "A tablet"
kind = "desktop"
[browser]
channels = ["chrome", "chromium"]
"""

SHIPPED = sorted(PROFILES_DIRECTORY.glob("*.toml"))


def refusal(tmp_path: Path, text: str | bytes, *, name: str = "pad.toml") -> tuple[Path, str]:
    """The file, and what is said of it after its name."""
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError) as raised:
        load_profile(path)
    message = str(raised.value)
    lines = message.split("\n  -> ", maxsplit=1)[0].splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines), message
    return path, message.replace(f"{path}: ", "")


# ---- what is shipped ----


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_profile_is_valid(path: Path) -> None:
    assert load_profile(path).id == path.stem


def test_there_is_a_profile_for_those_who_name_none() -> None:
    assert load_profiles()["desktop"].resource_limits == Limits()


def test_sizes_are_read_as_people_write_them() -> None:
    profile = load_profiles()["desktop-4g-1core"]
    assert profile.resource_limits == Limits(memory_bytes=4 << 30, cpus=1.0)


def test_more_processors_may_be_seen_than_a_quota_fills(tmp_path: Path) -> None:
    path = tmp_path / "pad.toml"
    path.write_text(GOOD + "[limits]\ncpus = 0.5\nprocessors = 2")
    assert load_profile(path).resource_limits == Limits(cpus=0.5, processors=2)


# ---- mistakes ----


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            GOOD.replace("name", "nmae"),
            "name: is required\nnmae: unknown key; did you mean 'name'?",
            id="unknown key with a near one",
        ),
        pytest.param(
            GOOD + "[limits]\nmemroy = '1g'",
            "limits.memroy: unknown key; did you mean 'memory'?",
            id="unknown key in a section",
        ),
        pytest.param(
            GOOD + "[limits]\nprocessors = 2",
            "limits: processors: is for a limit of cpus; give that as well",
            id="processors without cpus",
        ),
        pytest.param(
            GOOD + "[limits]\ncpus = 1.5\nprocessors = 1",
            "limits: processors: 1 cannot give 1.5 cpus",
            id="too few processors",
        ),
        pytest.param(
            GOOD + "zzzz = 1",
            "browser.zzzz: unknown key; known keys: engine, channels, minimum_version, args,"
            " software_adapter",
            id="unknown key with none near",
        ),
        pytest.param(
            GOOD + "[limit]\nmemory = '1g'",
            "limit: unknown key; did you mean 'limits'?",
            id="unknown section",
        ),
        pytest.param(
            "limits = 3\n" + GOOD,
            "limits: is not a section; write [limits] and its keys below",
            id="a value where a section belongs",
        ),
        pytest.param(
            GOOD.replace('"A tablet"', "5"),
            "name: input should be a valid string (it is 5)",
            id="wrong type",
        ),
        pytest.param(
            GOOD + "minimum_version = '120'",
            "browser.minimum_version: input should be a valid integer (it is '120')",
            id="a number as text",
        ),
        pytest.param(
            GOOD + "[limits]\ncpus = true",
            "limits.cpus: input should be a valid number (it is True)",
            id="a truth as a number",
        ),
        pytest.param(
            GOOD + "[expect]\nwebgpu = 'yes'",
            "expect.webgpu: input should be a valid boolean (it is 'yes')",
            id="a text as a truth",
        ),
        pytest.param(
            GOOD + "[limits]\nmemory = 0",
            "limits.memory: input should be greater than or equal to 268435456 (it is 0)",
            id="no memory",
        ),
        pytest.param(
            GOOD + "[limits]\ncpus = -1",
            "limits.cpus: input should be greater than 0 (it is -1)",
            id="negative cores",
        ),
        pytest.param(
            GOOD + "[limits]\ncpus = nan",
            "limits.cpus: input should be less than or equal to 1024 (it is nan)",
            id="cores that are not a number",
        ),
        pytest.param(
            GOOD + "minimum_version = 0",
            "browser.minimum_version: input should be greater than or equal to 1 (it is 0)",
            id="version 0",
        ),
        pytest.param(
            GOOD + "[limits]\nmemory = '2 elephants'",
            "limits.memory: '2 elephants' is not a size; write it like 512m, 2g, 1.5GiB or 4GB",
            id="bad size",
        ),
        pytest.param(
            GOOD.replace('"chromium"', '"chromum"'),
            "browser.channels.1: input should be 'chrome', 'chromium', 'msedge', 'firefox' or"
            " 'webkit' (it is 'chromum')",
            id="unknown channel",
        ),
        pytest.param(
            GOOD.replace("desktop", "ios").replace("[browser]", "spec_sheet_only = true\n[browser]")
            + "[ios]\nproduct_types = ['iPhone17,5']",
            "spec_sheet_only: is for kind = 'desktop'; phones have their match",
            id="a phone that is a spec sheet only",
        ),
        pytest.param(
            GOOD + "[expect]\ntier = 'best'",
            "expect.tier: input should be 'unsupported', 'low', 'medium' or 'high' (it is 'best')",
            id="unknown tier",
        ),
        pytest.param(
            GOOD.split("[browser]", maxsplit=1)[0],
            "browser: is required",
            id="missing section",
        ),
        pytest.param(
            GOOD.replace('id = "pad"', ""),
            "id: is required",
            id="missing key",
        ),
        pytest.param(
            GOOD.replace('"pad"', '"pads"'),
            "id: is 'pads', but the file is named 'pad'\n"
            "  -> rename the file to pads.toml, or set id = 'pad'",
            id="id and file differ",
        ),
        pytest.param(
            GOOD + "minimum_version = 0x" + "f" * 5000,
            "browser.minimum_version: input should be less than or equal to 100000"
            " (it is a very long number)",
            id="a number that cannot be printed",
        ),
    ],
)
def test_a_mistake_is_told_with_file_key_and_reason(tmp_path: Path, text: str, said: str) -> None:
    assert refusal(tmp_path, text)[1] == said


@pytest.mark.parametrize(
    "text",
    ["id = ", "id = 'a'\nid = 'b'", "a = " + "[" * 5000, "a = " + "9" * 5000],
    ids=["no value", "twice", "very deep", "very long"],
)
def test_what_is_not_toml(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text)[1].startswith("is not valid TOML: ")


def test_what_is_not_utf8(tmp_path: Path) -> None:
    said = refusal(tmp_path, GOOD.encode("utf-16"))[1]
    assert said == "is not UTF-8 text (invalid start byte)"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pad\.toml: cannot be read: No such file or directory"):
        load_profile(tmp_path / "pad.toml")


def test_a_directory_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load_profile(tmp_path)


def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "pad.toml"
    path.write_text(GOOD)
    path.chmod(0)
    # Nothing is forbidden to root: there the reader steps down first, once all is imported.
    code = (
        "import os, sys; from pathlib import Path; from harness.errors import UserError\n"
        "from harness.profiles import load_profile\n"
        "if os.geteuid() == 0: os.setegid(65534); os.seteuid(65534)\n"
        "try: load_profile(Path(sys.argv[1]))\n"
        "except UserError as error: print(error)\n"
    )
    let_in(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        cwd=PROFILES_DIRECTORY.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == f"{path}: cannot be read: Permission denied"


def test_a_directory_without_profiles(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there are no device profiles \(\*\.toml\) here"):
        load_profiles(tmp_path)


def test_one_bad_profile_stops_all(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD.replace("pad", "good"))
    (tmp_path / "bad.toml").write_text("x")
    with pytest.raises(UserError, match="bad"):
        load_profiles(tmp_path)


# ---- any text ----

KEYS = st.sampled_from(
    ["id", "name", "kind", "browser", "limits", "expect", "channels", "memory", "cpus", "x.y", "''"]
)
VALUES = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["'pad'", "'desktop'", "true", "[]", "{}", "{a=1}", "1979-05-27", "['chrome']", "'1g'"]
    ),
)
LINES = st.one_of(
    st.builds("{} = {}".format, KEYS, VALUES), KEYS.map("[{}]".format), KEYS.map("[[{}]]".format)
)
TEXTS = st.one_of(
    st.text(),
    st.lists(LINES).map("\n".join),
    st.lists(LINES).map(lambda lines: GOOD + "\n".join(lines)),
)


@given(TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary())
@example(GOOD.encode())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_profile_or_an_error_of_the_user(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "pad.toml"
    path.write_bytes(text)
    try:
        profile = load_profile(path)
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert isinstance(profile, Profile)
        assert profile.id == "pad"


# ---- selection ----


@pytest.fixture(scope="module")
def profiles() -> dict[str, Profile]:
    one = load_profiles()["desktop"]
    return {name: one.model_copy(update={"id": name}) for name in ("pixel7", "pixel9", "tablet")}


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (["tablet"], ["tablet"]),
        (["tablet,pixel7"], ["tablet", "pixel7"]),
        (["tablet , pixel7", "tablet"], ["tablet", "pixel7"]),
        (["pixel*"], ["pixel7", "pixel9"]),
        (["pixel?", "tab[l]et"], ["pixel7", "pixel9", "tablet"]),
        (["pixel9", "all"], ["pixel9", "pixel7", "tablet"]),
        (["all"], ["pixel7", "pixel9", "tablet"]),
    ],
)
def test_selection(profiles: dict[str, Profile], wanted: list[str], chosen: list[str]) -> None:
    assert [profile.id for profile in select(profiles, wanted)] == chosen


@pytest.mark.parametrize(
    ("word", "hint"),
    [("pixel8", "did you mean pixel9 or pixel7?"), ("zz*", "known: pixel7, pixel9, tablet")],
)
def test_an_unknown_device_names_the_nearest(
    profiles: dict[str, Profile], word: str, hint: str
) -> None:
    with pytest.raises(UserError) as raised:
        select(profiles, ["tablet", word])
    assert str(raised.value) == f"unknown device {word!r}\n  -> {hint}"
