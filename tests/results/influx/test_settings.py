"""Which InfluxDB: what options and variables say, and a token that is never shown."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from results.influx.settings import (
    BUCKET,
    NO_ORG,
    ORG,
    TOKEN,
    TOKEN_FILE,
    URL,
    InfluxSettings,
    MisconfiguredError,
    read_settings,
)

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cret-s3cret=="  # noqa: S105 - it opens nothing
HERE = {URL: "http://here:8086"}


def refusal(environment: dict[str, str], **options: str) -> str:
    with pytest.raises(MisconfiguredError) as caught:
        read_settings(environment, **options)
    assert "\n  -> " in str(caught.value)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_nothing_is_sent_where_nothing_names_an_influxdb() -> None:
    assert read_settings({}) is None
    assert read_settings({TOKEN: SECRET, BUCKET: "b", URL: ""}) is None


def test_an_address_is_enough() -> None:
    assert read_settings(HERE) == InfluxSettings("http://here:8086", "tierlab", NO_ORG, "")


def test_an_option_goes_before_its_variable() -> None:
    variables = {URL: "http://there/db/", ORG: "org", BUCKET: "bucket", TOKEN: f" {SECRET}\n"}
    assert read_settings(variables) == InfluxSettings("http://there/db", "bucket", "org", SECRET)
    given = read_settings(variables, url="https://[::1]:8086", org="o", bucket="b")
    assert given == InfluxSettings("https://[::1]:8086", "b", "o", SECRET)


@pytest.mark.parametrize("option", ["org", "bucket"])
def test_an_option_without_an_address_is_a_mistake(option: str) -> None:
    message = refusal({}, **{option: "name"})
    assert message.startswith(f"--influx-{option} is given, but no address")


@pytest.mark.parametrize(
    "url",
    [f"http://me:{SECRET}@host", f"{SECRET}@host", f"http://host?token={SECRET}",
     f"http://host/#{SECRET}"],
)  # fmt: skip
def test_an_address_with_a_secret_in_it_is_refused_and_not_shown(url: str) -> None:
    assert refusal({URL: url}).startswith(f"{URL}: the address holds a")
    assert refusal({}, url=url).startswith("--influx: the address holds a")


@pytest.mark.parametrize(
    "url",
    ["localhost:8086", "host", "ftp://host", "http://", "http://host:port", "http://host:0",
     "http://ho st", "http://host:99999", "http://[::1", "http://host\n", "http://h\x1b[1mst"],
)  # fmt: skip
def test_what_is_no_address_is_told(url: str) -> None:
    message = refusal({}, url=url)
    assert "is no address of an InfluxDB\n  -> write it as http://HOST:PORT" in message
    assert "\x1b" not in message


def test_a_token_is_one_word() -> None:
    assert "more than a token is in it" in refusal({**HERE, TOKEN: f"{SECRET}\nX-Header: 1"})
    assert "more than a token is in it" in refusal({**HERE, TOKEN: f"Token {SECRET}"})
    assert "more than a token is in it" in refusal({**HERE, TOKEN: f"{SECRET}\N{EURO SIGN}"})


# ---- a token in a file ----


def with_file(path: Path, text: str | bytes = f"{SECRET}\n", mode: int = 0o600) -> dict[str, str]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return {**HERE, TOKEN_FILE: str(path)}


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_token_is_read_from_a_private_file(tmp_path: Path, mode: int) -> None:
    settings = read_settings(with_file(tmp_path / "token", mode=mode))
    assert settings is not None
    assert settings.token == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o644])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a token"
    message = refusal(with_file(path, mode=mode))
    assert f"{path}: others than its owner can use the file of the token ({mode:04o})" in message
    assert message.endswith(f"-> chmod 600 '{path}'")


def test_a_file_without_a_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert f"{path}: no token is in it" in refusal(with_file(path, " \n"))
    assert f"{path}: more than a token is in it" in refusal(with_file(path, f"{SECRET}\n{SECRET}"))
    assert f"{path}: the token cannot be read: it is not text" in refusal(
        with_file(path, b"\xff\xfe")
    )
    path.unlink()
    assert "cannot be read: No such file or directory" in refusal({**HERE, TOKEN_FILE: str(path)})
    path.mkdir()
    assert "cannot be read: Is a directory" in refusal({**HERE, TOKEN_FILE: str(path)})


def test_a_pipe_is_as_good_as_a_file() -> None:
    """`TIERLAB_INFLUX_TOKEN_FILE=<(pass show influx)` in a shell."""
    reading, writing = os.pipe()
    try:
        os.write(writing, SECRET.encode())
        os.close(writing)
        settings = read_settings({**HERE, TOKEN_FILE: f"/dev/fd/{reading}"})
    finally:
        os.close(reading)
    assert settings is not None
    assert settings.token == SECRET


def test_the_variable_goes_before_the_file(tmp_path: Path) -> None:
    settings = read_settings({**HERE, TOKEN: SECRET, TOKEN_FILE: str(tmp_path / "none")})
    assert settings is not None
    assert settings.token == SECRET


# ---- what is shown ----


def test_settings_do_not_show_the_token() -> None:
    settings = InfluxSettings("http://here", "bucket", "org", SECRET)
    assert SECRET not in f"{settings} {settings!r} {settings.options()}"
    assert settings.without_token(f"a{SECRET}b") == "a***b"
    assert InfluxSettings("http://here").without_token("ab") == "ab"


def test_options_give_the_same_settings_again() -> None:
    def again(words: list[str]) -> InfluxSettings | None:
        names = {"--influx": "url", "--influx-org": "org", "--influx-bucket": "bucket"}
        pairs = zip(words[::2], words[1::2], strict=True)
        return read_settings({}, **{names[option]: value for option, value in pairs})

    for settings in (InfluxSettings("http://here"), InfluxSettings("http://here", "b", "o")):
        assert again(settings.options()) == settings
