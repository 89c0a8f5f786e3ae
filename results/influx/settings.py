"""Which InfluxDB records go to: options, environment variables, and a token that nobody sees."""

from __future__ import annotations

import os
import re
import shlex
import stat
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

URL: Final = "TIERLAB_INFLUX_URL"
ORG: Final = "TIERLAB_INFLUX_ORG"
BUCKET: Final = "TIERLAB_INFLUX_BUCKET"
TOKEN: Final = "TIERLAB_INFLUX_TOKEN"  # noqa: S105 - the variable's name
TOKEN_FILE: Final = "TIERLAB_INFLUX_TOKEN_FILE"  # noqa: S105 - the variable's name

DEFAULT_BUCKET: Final = "tierlab"
NO_ORG: Final = "-"
"""What the client is given for InfluxDB 3, which has no organisations; it insists on one."""

_LONGEST_TOKEN: Final = 16_384


class InfluxError(Exception):
    """InfluxDB cannot be used, or does not take lines; the message says why, without the token."""


class MisconfiguredError(InfluxError):
    """What trying again does not mend: the thing and the reason, and the next step."""

    def __init__(self, problem: str, next_step: str) -> None:
        self.problem = problem
        self.next_step = next_step
        super().__init__(f"{problem}\n  -> {next_step}")


@dataclass(frozen=True, slots=True)
class InfluxSettings:
    """Where to write. The token is not part of what is printed of it."""

    url: str
    bucket: str = DEFAULT_BUCKET
    org: str = NO_ORG
    token: str = field(default="", repr=False)

    def without_token(self, text: str) -> str:
        """A text with the token taken out: a server may send back what it was sent."""
        return text.replace(self.token, "***") if self.token else text

    def options(self) -> list[str]:
        """The options that give these settings again, but for the token."""
        org = [] if self.org == NO_ORG else ["--influx-org", self.org]
        bucket = [] if self.bucket == DEFAULT_BUCKET else ["--influx-bucket", self.bucket]
        return ["--influx", self.url, *org, *bucket]


def read_settings(
    environment: Mapping[str, str],
    *,
    url: str | None = None,
    org: str | None = None,
    bucket: str | None = None,
) -> InfluxSettings | None:
    """What options and environment say; `None` where nothing names an InfluxDB.

    Args:
        environment: the environment variables; an option goes before its variable.
        url: of `--influx`.
        org: of `--influx-org`.
        bucket: of `--influx-bucket`.

    Raises:
        MisconfiguredError: a setting cannot be used.
    """
    address, name = (url, "--influx") if url else (environment.get(URL), URL)
    if not address:
        if org or bucket:
            raise MisconfiguredError(
                f"--influx-{'org' if org else 'bucket'} is given, but no address of an InfluxDB",
                f"give --influx URL, or set {URL}",
            )
        return None
    return InfluxSettings(
        url=_checked_url(address, name),
        bucket=bucket or environment.get(BUCKET) or DEFAULT_BUCKET,
        org=org or environment.get(ORG) or NO_ORG,
        token=_token(environment),
    )


def _checked_url(url: str, name: str) -> str:
    """The address without a slash at its end; not shown where it may hold a secret."""
    for sign, means in (("@", "a user name or password"), ("?", "a query"), ("#", "a fragment")):
        if sign in url:
            raise MisconfiguredError(
                f"{name}: the address holds {means}, and whoever lists processes would see it",
                "write it as http://HOST:PORT; the token goes into the variable"
                f" {TOKEN}, or into a file that {TOKEN_FILE} names",
            )
    try:
        parts = urllib.parse.urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not re.fullmatch(r"[!-~]+", url):
        raise MisconfiguredError(
            f"{name}: {plain(url)!r} is no address of an InfluxDB",
            "write it as http://HOST:PORT, such as http://localhost:8086",
        )
    return url.rstrip("/")


def _token(environment: Mapping[str, str]) -> str:
    if token := environment.get(TOKEN, "").strip():
        return _checked_token(token, TOKEN)
    file = environment.get(TOKEN_FILE)
    return _checked_token(_private_text(Path(file)), plain(file)) if file else ""


def _private_text(path: Path) -> str:
    """What a file holds that nobody but its owner can read."""
    name = plain(str(path))
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise MisconfiguredError(
                    f"{name}: others than its owner can use the file of the token ({mode:04o})",
                    f"chmod 600 {shlex.quote(name)}",
                )
            return file.read(_LONGEST_TOKEN).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise MisconfiguredError(
            f"{name}: the token of InfluxDB cannot be read: {reason}",
            f"write the token into that file, or set {TOKEN}",
        ) from None


def _checked_token(token: str, source: str) -> str:
    # Anything else would end the header that it is sent in, and be quoted by what refuses it.
    if not re.fullmatch(r"[!-~]+", token):
        raise MisconfiguredError(
            f"{source}: {'more than a token is in it' if token else 'no token is in it'}",
            "it must hold the token alone: letters, digits and signs, in one line, no space",
        )
    return token
