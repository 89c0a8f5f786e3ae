"""The commands: what they print and change, and how what is not known fails."""

from __future__ import annotations

import asyncio
import zipfile
from contextlib import suppress
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.devices.android.facts.battery import parse_battery
from harness.devices.android.facts.gpu import parse_gles
from harness.devices.android.facts.memory import parse_process_memory
from harness.devices.android.facts.packages import parse_package, parse_webview
from harness.devices.android.facts.screen import parse_screen_on, parse_unlocked
from harness.devices.android.facts.storage import parse_df
from harness.devices.android.facts.thermal import parse_thermal
from harness.emulation.capture.dumps import PLACEHOLDERS, Dump, write_dumps
from harness.emulation.phone.android import dumps
from harness.emulation.phone.android.chrome.arguments import css_size
from harness.emulation.phone.android.intents import BadIntentError, parse_request
from harness.emulation.phone.android.state import Process
from harness.errors import UserError
from harness.profiles import load_profiles
from tests.harness.emulation.phone.android.fixtures import CHROME, Handset, Streams

if TYPE_CHECKING:
    from pathlib import Path


PROFILES = load_profiles()
PHONES = sorted(name for name, profile in PROFILES.items() if profile.kind == "android")


@pytest.fixture
def phone(tmp_path: Path) -> Handset:
    return Handset(tmp_path)


def control(phone: Handset, action: str, **arguments: object) -> object:
    return asyncio.run(phone.system.control(action, arguments))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("am nonsense", 255, "Unknown command: nonsense"),
        ("pm nonsense", 255, "Unknown command: nonsense"),
        ("cmd nonsense", 20, "cmd: Can't find service: nonsense"),
        ("cmd battery nonsense", 255, "Unknown command: nonsense"),
        ("dumpsys nonsense", 0, "Can't find service: nonsense"),
        ("dumpsys activity nonsense", 0, "Bad activity command"),
        ("settings nonsense", 255, "Unknown command: nonsense"),
        ("wm nonsense", 255, "Unknown command: nonsense"),
        ("input nonsense", 255, "Unknown command: nonsense"),
        ("svc nonsense", 255, "Unknown command: nonsense"),
        ("svc power nonsense", 1, "usage: svc power stayon"),
        ("ps --nonsense", 1, "Unknown option"),
        ("df --nonsense", 1, "Unknown option"),
        ("am start --nonsense", 1, "Unknown option: --nonsense"),
    ],
)
def test_what_is_not_known_fails_in_androids_words(
    phone: Handset, line: str, code: int, words: str
) -> None:
    said = phone.say(line)
    assert said.code == code
    assert words in said.out + said.err
    assert sum(phone.unknown.values()) == 1
    assert control(phone, "unknown_commands") == dict(phone.unknown)


def test_properties_follow_the_profile(phone: Handset) -> None:
    assert phone.say("getprop ro.product.device").out == "panther\n"
    assert phone.say("getprop ro.build.version.sdk").out == "35\n"
    assert phone.say("getprop ro.tierlab.virtual").out == "1\n"
    assert phone.say("getprop no.such default").out == "default\n"
    assert "[ro.product.model]: [Pixel 7]\n" in phone.say("getprop").out
    assert phone.say("setprop debug.mine 3").code == 0
    assert phone.say("getprop debug.mine").out == "3\n"
    assert phone.say("setprop ro.product.model Other").code == 1
    asyncio.run(phone.system.start())  # a reboot
    assert phone.say("getprop debug.mine").out == "\n"


@pytest.mark.parametrize("name", PHONES)
def test_every_profile_becomes_a_phone_that_it_matches(tmp_path: Path, name: str) -> None:
    profile = PROFILES[name]
    assert profile.android is not None
    phone = Handset(tmp_path, profile)
    for key, values in profile.android.match.items():
        shown = phone.say(f"getprop {key}").out.strip()
        assert any(fnmatch(shown, value) for value in values), (key, shown)
    assert phone.say("getprop ro.tierlab.virtual").out == "1\n"
    assert phone.say("dumpsys").code == 0
    assert parse_gles(phone.say("dumpsys SurfaceFlinger").out) is not None
    width, height = css_size(phone.state.screen)
    assert 300 < width < 1400
    assert 500 < height < 1400
    assert phone.state.app_memory < phone.state.memory_total
    assert not phone.unknown


def test_settings(phone: Handset) -> None:
    assert phone.say("settings get global debug_app").out == "null\n"
    phone.say("am set-debug-app --persistent com.android.chrome")
    assert phone.say("settings get global debug_app").out == "com.android.chrome\n"
    assert phone.say("settings put system screen_off_timeout 60000").code == 0
    assert "screen_off_timeout=60000\n" in phone.say("settings list system").out
    assert phone.say("settings delete system screen_off_timeout").out == "Deleted 1 rows\n"
    assert phone.say("settings get nonsense x").code == 255


def test_the_harness_reads_the_dumps(phone: Handset) -> None:
    control(phone, "battery", level=41, celsius=38.5, plugged=False)
    control(phone, "thermal", status=3, celsius=47.5)
    control(phone, "storage", free_bytes=5 << 20)
    battery = parse_battery(phone.say("dumpsys battery").out)
    thermal = parse_thermal(phone.say("dumpsys thermalservice").out)
    package = parse_package(phone.say(f"dumpsys package {CHROME}").out, CHROME)
    gles = parse_gles(phone.say("dumpsys SurfaceFlinger").out)
    storage = parse_df(phone.say("df -k /data").out)
    assert battery is not None
    assert (battery.percent, battery.celsius, battery.sources) == (41, 38.5, ())
    assert thermal is not None
    assert thermal.status == 3
    assert 47.5 in [item.celsius for item in thermal.temperatures if item.kind == "skin"]
    assert package is not None
    assert package.version == phone.state.packages[CHROME].version
    assert gles is not None
    assert gles.renderer == "Mali-G710 MP7"
    assert storage is not None
    assert storage.free_bytes == 5 << 20
    assert parse_webview(phone.say("dumpsys webviewupdate").out) is not None
    assert phone.say("cmd thermalservice override-status 5").code == 0
    assert "Thermal Status: 5\n" in phone.say("dumpsys thermalservice").out


def test_the_screen(phone: Handset) -> None:
    def seen() -> tuple[bool | None, bool | None]:
        power, policy = phone.say("dumpsys power").out, phone.say("dumpsys window policy").out
        return parse_screen_on(power), parse_unlocked(policy)

    assert seen() == (True, True)
    control(phone, "screen", on=False, locked=True)
    assert seen() == (False, False)
    phone.say("input keyevent KEYCODE_WAKEUP")
    assert seen() == (True, False)
    phone.say("wm dismiss-keyguard")
    assert seen() == (True, True)
    assert phone.say("wm size 720x1600").code == 0
    assert "Override size: 720x1600" in phone.say("wm size").out
    assert phone.say("screencap -p").data.startswith(b"\x89PNG\r\n\x1a\n")
    assert phone.say("screencap -p /data/local/tmp/a.png").code == 0
    assert (phone.place.root / "data/local/tmp/a.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("api", ["30", "35"])
def test_memory_of_each_release_is_read(
    phone: Handset, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(4242, CHROME, 10152, "browser", CHROME, rss=300 << 20, pss=200 << 20)
    monkeypatch.setattr(type(phone.system.phone), "processes", lambda _: [process])
    phone.state.properties["ro.build.version.sdk"] = api
    found = parse_process_memory(phone.say(f"dumpsys meminfo {CHROME}").out)
    assert [process.pss_bytes for process in found] == [200 << 20]
    assert "No process found for: no.such" in phone.say("dumpsys meminfo no.such").out
    assert phone.say(f"pidof {CHROME}").out == "4242\n"
    assert "u0_a152          4242" in phone.say("ps -A").out
    assert phone.say("ps -o PID,NAME -p 4242").out.split() == ["PID", "NAME", "4242", CHROME]
    assert phone.say("pidof no.such").code == 1


def test_packages(phone: Handset) -> None:
    assert phone.say(f"pm path {CHROME}").out.startswith("package:/data/app/")
    assert phone.say("pm path no.such").code == 1
    assert phone.say("pm list packages chrome").out == f"package:{CHROME}\n"
    brief = phone.say(f"cmd package resolve-activity --brief {CHROME}").out
    assert brief.splitlines()[-1].startswith(f"{CHROME}/")
    asked = "android.permission.POST_NOTIFICATIONS"
    assert f"{asked}: granted=false" in phone.say(f"dumpsys package {CHROME}").out
    phone.say(f"pm grant {CHROME} {asked}")
    assert f"{asked}: granted=true" in phone.say(f"dumpsys package {CHROME}").out
    assert phone.say("pm install -S 9", b"not a zip").out.startswith("Failure [INSTALL_PARSE_")
    assert phone.say(f"pm uninstall {CHROME}").out == "Failure [DELETE_FAILED_INTERNAL_ERROR]\n"
    missing = phone.say("am start -n no.such/.Main")
    assert "Activity class {no.such/no.such.Main} does not exist." in missing.err


def test_what_appium_asks_for(phone: Handset) -> None:
    assert "\n-A\t" in phone.say("ps --help").out
    assert phone.say(f"dumpsys deviceidle whitelist +{CHROME}").out == f"Added: {CHROME}\n"
    assert f"user,{CHROME},10152\n" in phone.say("dumpsys deviceidle whitelist").out
    phone.say(f"dumpsys deviceidle whitelist -{CHROME}")
    assert CHROME not in phone.say("dumpsys deviceidle whitelist").out
    phone.say("dumpsys deviceidle disable all")
    assert phone.say("dumpsys deviceidle enabled all").out == "0\n"
    assert not phone.unknown


def test_a_bug_report_holds_what_is_known(phone: Handset) -> None:
    phone.say("log -t mine hello")
    said = phone.say("bugreportz -p").out.splitlines()
    assert [line.partition(":")[0] for line in said] == ["BEGIN", "PROGRESS", "OK"]
    with zipfile.ZipFile(phone.place.path(said[-1].partition(":")[2])) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    assert "I mine    : hello" in text
    assert "DUMP OF SERVICE thermalservice:" in text


def test_recorded_answers_come_first_with_the_states_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "dumps"
    folder.mkdir()
    text = "Current Battery Service state:\n  level: {{battery.level}}\n  vendor: 1\n"
    sample = Dump("dumpsys power", "recorded\n", replay=False)
    write_dumps(folder, [Dump("dumpsys battery", text, 3), sample], captured="2026-01-01")
    monkeypatch.setattr(dumps, "folder_of", lambda _: folder)
    phone = Handset(tmp_path / "root")
    phone.state.battery.level = 12
    said = phone.say("dumpsys  battery")
    assert (said.out, said.code) == (text.replace("{{battery.level}}", "12"), 3)
    assert "recorded" not in phone.say("dumpsys power").out


def test_every_placeholder_has_a_value(phone: Handset) -> None:
    assert set(dumps.values(phone.place.profile, phone.state, 0)) == set(PLACEHOLDERS)


def test_garbage_on_demand(phone: Handset) -> None:
    control(phone, "garbage", dump="dumpsys battery")
    assert parse_battery(phone.say("dumpsys battery").out) is None
    assert parse_thermal(phone.say("dumpsys thermalservice").out) is not None
    control(phone, "garbage")
    assert parse_battery(phone.say("dumpsys battery").out) is not None


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("nonsense", {}),
        ("thermal", {"status": 7}),
        ("thermal", {"celsius": "hot"}),
        ("battery", {"level": True}),
        ("storage", {"free_bytes": -1}),
        ("memory_limit", {"bytes": 1 << 30}),  # there is no group here
        ("kill", {"process": "kernel"}),
        ("kill", {"process": "renderer"}),  # nothing runs
        ("garbage", {"dump": 3}),
        ("screen", {"on": "yes"}),
    ],
)
def test_wrong_controls_are_told(phone: Handset, action: str, arguments: dict[str, object]) -> None:
    with pytest.raises(UserError):
        control(phone, action, **arguments)


def test_intents() -> None:
    request = parse_request(
        ["-W", "-S", "-a", "VIEW", "-d", "http://x/", "--es", "k", "v", "-f", "0x10", "p.q/.R"]
    )
    assert (request.wait, request.stop) == (True, True)
    assert request.intent.component == "p.q/.R"
    assert str(request.intent) == (
        "Intent { act=VIEW dat=http://x/ flg=0x10 cmp=p.q/.R (has extras) }"
    )


_WORDS = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(
            ["-n", "-d", "-W", "start", "list", "packages", "get", "set", "--es", "-p"]
        ),
    ),
    max_size=5,
)


@given(_WORDS)
def test_intents_never_raise_anything_else(words: list[str]) -> None:
    with suppress(BadIntentError):
        assert parse_request(words).intent


_NAMES = [
    "appops",
    "cmd",
    "device_config",
    "df",
    "dumpsys",
    "getprop",
    "ime",
    "input",
    "log",
    "pgrep",
    "pidof",
    "pm",
    "ps",
    "service",
    "setprop",
    "settings",
    "svc",
    "wm",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=st.sampled_from(_NAMES),
    words=_WORDS,
)
def test_no_command_raises(phone: Handset, name: str, words: list[str]) -> None:
    argv = [name, *words]

    async def run() -> int:
        return await phone.system.commands[name](argv, Streams())

    assert 0 <= asyncio.run(run()) <= 255
