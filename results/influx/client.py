"""One write to InfluxDB, and what its answers mean.

Written through `influxdb-client`, one synchronous request a call and without its retries: it has
none unless they are asked for, and those end for good some time after the client was made. Its
`ping` is true where every write fails; so nothing is asked before the first write.

What an answer means is from InfluxDB's documentation (the page "Troubleshoot issues writing data"
of InfluxDB 2 and of InfluxDB 3, which takes the same request at the same path), and from what
influxd 1.6 and the client do.
"""

from __future__ import annotations

import http.client
import json
import logging
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, Self

from results.influx.settings import (
    NO_ORG,
    ORG,
    TOKEN,
    TOKEN_FILE,
    InfluxError,
    MisconfiguredError,
)
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from results.influx.settings import InfluxSettings

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0

_MESSAGE_LENGTH: Final = 300

# Status codes by what they mean for lines; others are none of InfluxDB's.
_WRITTEN: Final = 204
_TOKEN_REFUSED: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404
_LINES_REFUSED: Final = frozenset({400, 422})
_TOO_LARGE: Final = 413
_PASSING: Final = frozenset({408, 425, 429})
_FAULT: Final = 500
_NOT_OFFERED: Final = frozenset({501, 505})
_MOVED: Final = range(300, 400)


class UnavailableError(InfluxError):
    """A fault that passes; whether the lines were written is not known.

    Attributes:
        retry_after: seconds that the server asked to wait, if it did.
        slow: whether the server took too long over the request, so that a smaller one may do.
    """

    def __init__(
        self, reason: str, *, retry_after: float | None = None, slow: bool = False
    ) -> None:
        self.retry_after = retry_after
        self.slow = slow
        super().__init__(reason)


class RefusedError(InfluxError):
    """At least one of the lines will never be taken; the others may have been, or not.

    Attributes:
        too_large: whether it is for the size of the request, so that a smaller one may do.
    """

    def __init__(self, reason: str, *, too_large: bool = False) -> None:
        self.too_large = too_large
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered to a write; all of it is somebody's word."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def message(self) -> str | None:
        """What InfluxDB says of an error: `message`, of 1 and 3 `error`; `None` in other words."""
        try:
            said = json.loads(self.body)
        except ValueError:
            return None
        if not isinstance(said, dict):
            return None
        text = said.get("message", said.get("error"))
        # InfluxDB 3 tells the reason a line.
        match said.get("data"):
            case [{"error_message": str(first)}, *_]:
                text = f"{text}: {first}"
        return text if isinstance(text, str) else None


def meaning(answer: Answer, settings: InfluxSettings) -> InfluxError | None:
    """What an answer to a write says of the lines; `None`: they are written."""
    status, message = answer.status, answer.message
    text = _clean(message, settings) if message else ""
    told = f"{status}: {text}" if text else str(status)
    problem: InfluxError | None
    if status == _WRITTEN:
        problem = None
    elif status in _PASSING or (status >= _FAULT and status not in _NOT_OFFERED):
        wait = seconds_of(answer.headers.get("Retry-After"))
        asks = f", and asks to wait {wait:.0f} s" if wait else ""
        problem = UnavailableError(f"{settings.url} answers {told}{asks}", retry_after=wait)
    elif status in _TOKEN_REFUSED and "retention" not in text:
        problem = _token_refused(told, settings)
    elif status == _NOT_FOUND and text:
        problem = _not_found(told, settings)
    elif status == _TOO_LARGE:
        problem = RefusedError(text or "the request is too large", too_large=True)
    elif status in _LINES_REFUSED | _TOKEN_REFUSED and text:
        # InfluxDB Cloud answers 403 to points that are older than the bucket keeps.
        problem = RefusedError(text)
    else:
        problem = _no_influxdb(answer, told, settings)
    return problem


def seconds_of(retry_after: str | None, now: datetime | None = None) -> float | None:
    """What a `Retry-After` says in seconds from now: it holds seconds or a date (RFC 9110, 10.2.3).

    `None` where it says nothing that can be obeyed.
    """
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            until = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        seconds = (until - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _clean(text: str, settings: InfluxSettings) -> str:
    """Words of a server: one line, of bounded length, without the token."""
    line = plain(settings.without_token(text)).strip()
    if len(line) <= _MESSAGE_LENGTH:
        return line
    # The reason often stands behind a line that is quoted in full.
    half = _MESSAGE_LENGTH // 2
    return f"{line[:half]} ... {line[-half:]}"


def _token_refused(told: str, settings: InfluxSettings) -> MisconfiguredError:
    if not settings.token:
        return MisconfiguredError(
            f"InfluxDB at {settings.url} asks for a token, and none is set ({told})",
            f"set {TOKEN}, or {TOKEN_FILE} to a file that only you can read",
        )
    return MisconfiguredError(
        f"InfluxDB at {settings.url} refuses the token ({told})",
        f"set {TOKEN} or {TOKEN_FILE} to a token that may write to"
        f" the bucket {plain(settings.bucket)!r}",
    )


def _not_found(told: str, settings: InfluxSettings) -> MisconfiguredError:
    if "organization" in told and settings.org == NO_ORG:
        return MisconfiguredError(
            f"InfluxDB at {settings.url} has organisations, and none is named ({told})",
            f"give --influx-org NAME, or set {ORG}; `influx org list` shows them",
        )
    if "organization" in told:
        return MisconfiguredError(
            f"InfluxDB at {settings.url} does not know the organisation"
            f" {plain(settings.org)!r} ({told})",
            "give another --influx-org; `influx org list` shows them",
        )
    if "bucket" in told or "database" in told:
        return MisconfiguredError(
            f"InfluxDB at {settings.url} does not know the bucket {plain(settings.bucket)!r},"
            f" or the token may not see it ({told})",
            "give another --influx-bucket, or make it: `influx bucket create --name"
            f" {plain(settings.bucket)}`",
        )
    return _no_influxdb(Answer(_NOT_FOUND), told, settings)


def _no_influxdb(answer: Answer, told: str, settings: InfluxSettings) -> MisconfiguredError:
    if answer.status in _MOVED:
        place = _clean(answer.headers.get("Location", ""), settings)
        told = f"{told}, and sends on to {place}"
    return MisconfiguredError(
        f"what answers at {settings.url} is no InfluxDB 2 or 3, or lies at another path"
        f" (POST /api/v2/write: {told})",
        "check the address; it is the one that `influx ping --host` takes",
    )


class Influx:
    """A connection to InfluxDB. Not shared between threads.

    Args:
        settings: where.
        connect_seconds: how long a connection may take.
        answer_seconds: how long the server may be silent.
    """

    def __init__(
        self,
        settings: InfluxSettings,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        # A third of a second, which only those who send should pay.
        from influxdb_client.client.influxdb_client import InfluxDBClient  # noqa: PLC0415
        from influxdb_client.client.write_api import SYNCHRONOUS  # noqa: PLC0415

        self._settings = settings
        self._client = InfluxDBClient(
            settings.url,
            token=settings.token,
            org=settings.org,
            enable_gzip=True,
            timeout=(round(connect_seconds * 1e3), round(answer_seconds * 1e3)),
        )
        self._api = self._client.write_api(write_options=SYNCHRONOUS)
        self._discretion = _Discretion(settings)
        logging.getLogger().addFilter(self._discretion)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        logging.getLogger().removeFilter(self._discretion)
        self._client.close()  # type: ignore[no-untyped-call]

    def write(self, lines: Sequence[str]) -> None:
        """Write lines of line protocol, with times in nanoseconds; they are kept on return.

        Raises:
            UnavailableError: not now; whether they were written is not known.
            MisconfiguredError: not before something is mended.
            RefusedError: at least one of them never.
        """
        if problem := meaning(
            self._post("\n".join(lines).encode(errors="replace")), self._settings
        ):
            raise problem

    def _post(self, body: bytes) -> Answer:
        from influxdb_client.rest import ApiException  # noqa: PLC0415
        from urllib3 import exceptions as faults  # noqa: PLC0415

        # What the client raises may quote what was sent, the token too: it is never chained to.
        try:
            self._api.write(self._settings.bucket, self._settings.org, body)
        except ApiException as error:
            if not error.status:
                raise self._broken_tls(str(error.reason)) from None
            return Answer(error.status, error.body or "", error.headers or {})
        except UnicodeDecodeError:
            raise UnavailableError("the answer is no text") from None
        except faults.ReadTimeoutError:
            raise UnavailableError("no answer in time", slow=True) from None
        except (faults.HTTPError, OSError) as error:
            raise self._unreached(error) from None
        last = self._client.api_client.last_response
        return Answer(last.status, last.data, last.getheaders())

    def _unreached(self, error: Exception) -> InfluxError:
        """A request without an answer."""
        from urllib3 import exceptions as faults  # noqa: PLC0415

        cause = error.args[-1] if error.args else None
        match error:
            case faults.LocationValueError():
                return MisconfiguredError(
                    f"{self._settings.url} is no address", "write it as http://HOST:PORT"
                )
            case faults.SSLError():
                return self._broken_tls(str(error))
            case faults.NameResolutionError():
                reason = "its name is not known"
            case faults.NewConnectionError():
                reason = str(error).rpartition("] ")[2]
            case faults.ConnectTimeoutError():
                reason = "no connection in time"
            case faults.ProtocolError() if isinstance(cause, http.client.RemoteDisconnected):
                reason = "the connection broke off"
            case faults.ProtocolError() if isinstance(cause, http.client.BadStatusLine):
                return _no_influxdb(Answer(0), "no HTTP", self._settings)
            case faults.ProtocolError() if isinstance(cause, OSError):
                reason = cause.strerror or "the connection broke off"
            case _:
                reason = str(error)
        return UnavailableError(f"{self._settings.url}: {_clean(reason, self._settings)}")

    def _broken_tls(self, reason: str) -> InfluxError:
        told = _clean(reason.removeprefix("SSLError"), self._settings)
        if "EOF" in reason or "timed out" in reason:
            return UnavailableError(f"{self._settings.url}: {told}")
        return MisconfiguredError(
            f"{self._settings.url}: no secure connection: {told}",
            "check https or http in the address; where the certificate is of your own authority,"
            " name that in the variable SSL_CERT_FILE",
        )


class _Discretion(logging.Filter):
    """Keeps the token out of the root logger, where the client logs what it does not understand."""

    def __init__(self, settings: InfluxSettings) -> None:
        super().__init__()
        self._settings = settings

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the message pass without the token."""
        text = record.getMessage()
        if (clean := self._settings.without_token(text)) != text:
            record.msg, record.args = clean, None
        return True
