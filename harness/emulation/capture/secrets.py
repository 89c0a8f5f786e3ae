"""What a phone says of itself and its user: looked up only to be searched for, never written.

Every question may fail: releases and manufacturers differ. What cannot be looked up is still found
by its form, where it has one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from harness.devices.android.facts.properties import parse_properties
from harness.devices.android.failures import CommandTimeoutError
from harness.emulation.capture.redact import SHORTEST_SECRET, Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from harness.devices.android.phone import Phone

_SECONDS: Final = 15.0

# Properties whose values are one phone's or one user's own.
_OWN_PROPERTY: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (kind, re.compile(form, re.IGNORECASE))
    for kind, form in (
        ("serial", r"serial|barcode|\bpsn\b|\.sn$"),
        ("number", r"imei|meid|imsi|iccid|\besn\b|msisdn|cplc|vbmeta\.digest"),
        ("mac", r"mac|bdaddr|bt_?addr|btmac|wifiaddr"),
        ("name", r"hostname|device_?name|bt\.name|bluetooth\.name|operator\.alpha|carrier"),
        ("ip", r"dhcp|\.dns\d|ipaddress|gateway"),
    )
)
_SETTINGS: Final = (
    ("number", "secure", "android_id"),
    ("number", "secure", "advertising_id"),
    ("name", "secure", "bluetooth_name"),
    ("mac", "secure", "bluetooth_address"),
    ("name", "global", "device_name"),
    ("name", "system", "device_name"),
)
# Values that are everybody's.
_NOBODYS: Final = frozenset(
    {
        "android", "owner", "guest", "user", "root", "shell", "default", "unknown", "none", "null",
        "true", "false", "device", "phone", "tablet", "pixel", "galaxy", "google", "samsung",
        "xiaomi", "redmi", "oneplus", "localhost", "dynamic",
    }
)  # fmt: skip
# What a name is allowed to be, so that taking it out takes nothing else out: the model's words.
_PUBLIC: Final = (
    "ro.product.model", "ro.product.name", "ro.product.device", "ro.product.brand",
    "ro.product.manufacturer", "ro.product.marketname", "ro.config.marketing_name",
    "ro.product.board", "ro.board.platform", "ro.soc.model", "ro.soc.manufacturer", "ro.hardware",
)  # fmt: skip

_ACCOUNT: Final = re.compile(r"Account ?\{name=([^,}\n]{1,200}),")
_USER: Final = re.compile(r"UserInfo\{\d{1,6}:([^:\n]{1,200}):")
_APP: Final = re.compile(r"^package:([\w.]{3,200})\s*$", re.MULTILINE)
_NETWORK: Final = re.compile(r"connected to \"([^\"\n]{1,200})\"|SSID: \"([^\"\n]{1,200})\"")
_ADDRESS: Final = re.compile(r"(?:inet6?|link/ether) ([0-9a-f:.]{3,45})")
_OWNER: Final = re.compile(r"(.+?)['\N{RIGHT SINGLE QUOTATION MARK}]s\b")


async def collect(phone: Phone, *, package: str, public: Iterable[str] = ()) -> list[Secret]:
    """What to search for in everything that this phone answers, without doubles.

    Args:
        phone: the phone.
        package: of the browser, which is no secret wherever it was installed from.
        public: what such phones are called; phones are named after themselves until somebody
            gives them another name.

    Raises:
        TransportLostError: the phone is gone.
    """
    properties = parse_properties(await _asked(phone, "getprop"))
    found = [Secret("serial", phone.serial), *_of_properties(properties)]
    for kind, table, key in _SETTINGS:
        found.append(Secret(kind, await _asked(phone, f"settings get {table} {key}")))
    accounts = _ACCOUNT.findall(await _asked(phone, "dumpsys account"))
    found += [Secret("account", name) for name in accounts]
    found += [Secret("account", name.partition("@")[0]) for name in accounts]
    users = _USER.findall(await _asked(phone, "pm list users"))
    found += [Secret("user", name) for name in users]
    apps = set(_APP.findall(await _asked(phone, "pm list packages -3"))) - {package}
    found += [Secret("app", name) for name in sorted(apps)]
    wifi = await _asked(phone, "cmd wifi status")
    found += [Secret("wifi", quoted or plain) for quoted, plain in _NETWORK.findall(wifi)]
    addresses = _ADDRESS.findall(await _asked(phone, "ip addr"))
    found += [Secret("mac" if len(a) == len("00:00:00:00:00:00") else "ip", a) for a in addresses]
    found.append(Secret("uuid", await _asked(phone, "cat /proc/sys/kernel/random/boot_id")))
    words = [*public, *(properties.get(key, "") for key in _PUBLIC)]
    return list(_worth_searching(found, {*_NOBODYS, *_words(" ".join(words))}))


def _of_properties(properties: Mapping[str, str]) -> Iterator[Secret]:
    for key, value in properties.items():
        kind = next((kind for kind, form in _OWN_PROPERTY if form.search(key)), None)
        if kind:
            yield from (Secret(kind, part) for part in {value, *value.split(",")})


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _worth_searching(found: Iterable[Secret], public: set[str]) -> Iterator[Secret]:
    """Those that are somebody's own and long enough, each value once."""
    seen: set[str] = set()
    for secret in found:
        owner = _OWNER.match(secret.value)  # of `Anna's Pixel 7`
        values = [secret.value, *(owner.groups() if owner else ())]
        for value in (value.strip() for value in values):
            known = value.lower()
            if len(value) < SHORTEST_SECRET or known in seen or public.issuperset(_words(value)):
                continue
            if not re.fullmatch(r"[0.:\-]*|127\..*|::1", value):
                seen.add(known)
                yield Secret(secret.kind, value)


async def _asked(phone: Phone, command: str) -> str:
    """What a command says; nothing where it fails."""
    try:
        output = await phone.run(command, within=_SECONDS, check=False)
    except CommandTimeoutError:
        return ""
    return output.text.strip() if output.exit_code == 0 else ""
