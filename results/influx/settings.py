"""Which InfluxDB records go to: options, environment variables, and a token that nobody sees."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from results.secrets import UnusableSecretError, secret_of_file, secret_of_text
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
    given, file = environment.get(TOKEN, "").strip(), environment.get(TOKEN_FILE)
    try:
        if given:
            return secret_of_text(given, kind="token", source=TOKEN)
        return secret_of_file(Path(file), kind="token", variable=TOKEN) if file else ""
    except UnusableSecretError as error:
        raise MisconfiguredError(error.problem, error.next_step) from None
