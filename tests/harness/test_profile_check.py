"""The phones' profiles: what ships is sound, and each kind of mistake is found."""

from __future__ import annotations

import tomllib

import pytest

from harness.emulation.limits import format_bytes
from harness.emulation.phone.android.profile_state import properties_of
from harness.profile_check import clashes, estimated_app_memory, problems
from harness.profiles import PROFILES_DIRECTORY, Profile, load_profiles

GIB = 1 << 30
SHIPPED = load_profiles()
PHONES = [profile for profile in SHIPPED.values() if profile.kind == "android"]

GOOD = """
id = "phone"
name = "A phone"
kind = "android"
[browser]
channels = ["chrome"]
[android]
release = "15"
[android.match]
"ro.product.device" = ["panther", "cheetah"]
[android.properties]
"ro.product.brand" = "google"
"ro.product.name" = "panther"
"ro.product.device" = "panther"
"ro.build.fingerprint" = "google/panther/panther:15/AP4A.1/1:user/release-keys"
[hardware]
soc = "S"
gpu = "G"
cores = 8
memory = "8GiB"
bandwidth_gb_s = 51.2
sources = ["soc, gpu, cores, memory, screen: somewhere"]
unverified = ["bandwidth_gb_s"]
[app_memory]
available = "3.4GiB"
basis = "estimate: 0.55 of memory, less 1 GiB; see docs/profiles.md"
[screen]
width = 1080
height = 2400
density = 420
"""


def profile(text: str) -> Profile:
    return Profile.model_validate(tomllib.loads(text))


# ---- what is shipped ----


@pytest.mark.parametrize("phone", PHONES, ids=lambda phone: phone.id)
def test_a_shipped_phone_is_sound(phone: Profile) -> None:
    assert problems(phone) == []


@pytest.mark.parametrize(
    "sheet", [p for p in SHIPPED.values() if p.spec_sheet_only], ids=lambda sheet: sheet.id
)
def test_a_shipped_spec_sheet_names_its_sources(sheet: Profile) -> None:
    assert problems(sheet) == []
    without = sheet.hardware.model_copy(update={"sources": (), "unverified": ()})
    assert problems(sheet.model_copy(update={"hardware": without}))


def test_no_phone_is_two_profiles() -> None:
    assert clashes(SHIPPED.values()) == []


@pytest.mark.parametrize("phone", PHONES, ids=lambda phone: phone.id)
def test_its_virtual_phone_is_taken_for_it_and_for_nothing_else(phone: Profile) -> None:
    properties = properties_of(phone)
    matching = [other.id for other in PHONES if other.android and other.android.matches(properties)]
    assert matching == [phone.id]


def test_the_phones_that_matter_are_there() -> None:
    assert len(PHONES) >= 22
    assert {phone.hardware.memory for phone in PHONES} >= {4 * GIB, 6 * GIB, 8 * GIB, 12 * GIB}
    assert {"pixel7", "galaxy-s24-ultra", "oneplus-12", "pixel-tablet"} <= SHIPPED.keys()


def test_profiles_are_short_enough_to_read() -> None:
    for phone in PHONES:
        lines = (PROFILES_DIRECTORY / f"{phone.id}.toml").read_text().splitlines()
        assert len(lines) <= 60, phone.id


def test_the_documentation_lists_every_phone_as_it_is() -> None:
    text = (PROFILES_DIRECTORY.parent / "docs" / "profiles.md").read_text()
    for phone in PHONES:
        assert phone.app_memory
        assert phone.hardware.memory
        row = next(line for line in text.splitlines() if line.startswith(f"| `{phone.id}` |"))
        assert f"| {phone.hardware.memory >> 30} GB |" in row
        assert row.endswith(f"| {format_bytes(phone.app_memory.available)} |")


# ---- the rule ----


@pytest.mark.parametrize(("sold", "tenths"), [(4, 12), (6, 23), (8, 34), (12, 56), (16, 78)])
def test_what_an_app_gets_follows_one_rule(sold: int, tenths: int) -> None:
    assert estimated_app_memory(sold * GIB) == round(tenths * GIB / 10)


# ---- mistakes ----


def test_a_sound_profile_has_no_problems() -> None:
    assert problems(profile(GOOD)) == []


def test_other_kinds_are_not_looked_at() -> None:
    assert problems(SHIPPED["desktop"]) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("soc, gpu", "gpu", "hardware.sources: none is for 'soc'"),
        ("soc, gpu, cores", "Wikipedia", "does not begin with the keys"),
        ('"bandwidth_gb_s"]', '"bandwith"]', "hardware.unverified: 'bandwith' is no key"),
        ('gpu = "G"\n', "", "hardware.gpu: is missing"),
        ("cores = 8", "cores = 96", "hardware.cores: 96 is not plausible"),
        ("bandwidth_gb_s = 51.2", "bandwidth_gb_s = 5120", "hardware.bandwidth_gb_s: 5120"),
        ("density = 420", "density = 42", "screen: 4114 dp across"),
        ('"3.4GiB"', '"3GiB"', "app_memory.available: is 3 GiB; the rule that it names"),
        ('"3.4GiB"', '"8GiB"', "app_memory.available: 8 GiB of 8 GiB is not plausible"),
        ("estimate: 0.55", "a guess: 0.55", "app_memory.basis: does not begin"),
        ('release = "15"', 'release = "fifteen"', "android.release: 'fifteen' is no release"),
        ('release = "15"', 'release = "14"', "the fingerprint's release is '15'"),
        ('"panther", "cheetah"]', '"lynx"]', "android.match: does not match the profile's own"),
        ("user/release-keys", "eng/test-keys", "is no fingerprint of a released build"),
        ('name" = "panther"', 'name" = "lynx"', "the fingerprint's name is 'panther'"),
        ("[screen]\nwidth = 1080\nheight = 2400\ndensity = 420\n", "", "screen: is missing"),
    ],
)
def test_a_mistake_is_told(old: str, new: str, said: str) -> None:
    assert old in GOOD
    found = problems(profile(GOOD.replace(old, new)))
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    "match",
    [
        '"ro.product.device" = ["cheetah"]',
        '"ro.product.device" = ["pan*"]',
        '"ro.product.brand" = ["google"]',
    ],
)
def test_two_profiles_for_one_phone_are_told(match: str) -> None:
    other = GOOD.replace('"phone"', '"other"', 1).replace(
        '"ro.product.device" = ["panther", "cheetah"]', match
    )
    found = clashes([profile(GOOD), profile(other)])
    assert any("other: android.match: a phone as phone describes it" in line for line in found)


# ---- recognising ----


def test_a_phone_is_matched_by_all_of_its_properties() -> None:
    section = profile(
        GOOD.replace(
            '"ro.product.device" = ["panther", "cheetah"]',
            '"ro.product.device" = ["pan*"]\n"ro.product.brand" = ["google", "Google"]',
        )
    ).android
    assert section
    assert section.matches({"ro.product.device": "panther", "ro.product.brand": "Google"})
    assert not section.matches({"ro.product.device": "panther", "ro.product.brand": "samsung"})
    assert not section.matches({"ro.product.device": "panther"})
