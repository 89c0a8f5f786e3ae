from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.android import chrome as module
from harness.devices.android.adb import TransportLostError
from harness.devices.android.chrome import (
    FLAGS_FILE,
    NOTE_FILE,
    Chrome,
    DevtoolsSocket,
    Note,
    devtools_sockets,
    flags_line,
)
from harness.devices.cdp import CdpLostError
from harness.errors import UserError
from tests.harness.devices.android.scripted import ScriptedPhone

if TYPE_CHECKING:
    from tests.harness.devices.android.scripted import Answer

CHROME = "com.android.chrome"
UNIX = """Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 100 @chrome_devtools_remote
0000000000000000: 00000002 00000000 00010000 0001 01 101 @chrome_devtools_remote_4711
0000000000000000: 00000002 00000000 00010000 0001 01 102 @webview_devtools_remote_815
0000000000000000: 00000003 00000000 00000000 0001 03 103 @webview_devtools_remote_815
0000000000000000: 00000002 00000000 00010000 0001 01 104 /dev/socket/lmkd
0000000000000000: 00000002 00000000 00010000 0001 01 105 @not_devtools_remote_x
"""
DO: dict[str, Answer] = {
    "am": "",
    "pm": "",
    "printf": "",
    "rm": "",
    "chmod": "",
    "settings get": "null\n",
    "dumpsys package": 1,
    "[ -f ": 1,
}


def left(phone: ScriptedPhone) -> list[str]:
    """What changed the phone, in order."""
    words = ("am", "pm", "printf", "rm", "chmod")
    return [line for line in phone.asked if line.split()[0] in words]


def run_once(phone: ScriptedPhone, flags: tuple[str, ...] = ()) -> None:
    async def main() -> None:
        async with Chrome(phone.as_phone(), CHROME).running(flags):
            phone.asked.append("-- body")

    asyncio.run(main())


def test_sockets_of_browsers_and_webviews() -> None:
    assert devtools_sockets(UNIX) == [
        DevtoolsSocket("chrome_devtools_remote", webview=False, pid=None),
        DevtoolsSocket("chrome_devtools_remote_4711", webview=False, pid=4711),
        DevtoolsSocket("webview_devtools_remote_815", webview=True, pid=815),
    ]


@given(st.text())
def test_no_list_of_sockets_raises(text: str) -> None:
    devtools_sockets(text)


def test_the_flags_file() -> None:
    assert flags_line(["--a", "--b=c d"]) == '_ --a "--b=c d"'
    for flag in ('--a="x"', "--a\n--b", "no-dashes", "--a\\"):
        with pytest.raises(UserError, match="cannot be a flag"):
            flags_line([flag])


def test_a_fresh_start_and_everything_put_back() -> None:
    phone = ScriptedPhone(DO)
    run_once(phone, ("--extra",))
    at = phone.asked.index("-- body")
    before, after = phone.asked[:at], phone.asked[at:]
    assert before[0] == f"am force-stop {CHROME}"
    note = next(n for n, line in enumerate(before) if NOTE_FILE in line and "printf" in line)
    flags = next(n for n, line in enumerate(before) if line.endswith(f"> {FLAGS_FILE}"))
    start = next(n for n, line in enumerate(before) if line.startswith("am start -W -n"))
    assert note < flags < start  # the note is there before anything is changed
    assert "--extra" in before[flags]
    assert "--disable-fre" in before[flags]
    assert left(phone)[-4:] == [
        f"am force-stop {CHROME}",
        f"rm -f {FLAGS_FILE}",
        "am clear-debug-app",
        f"rm -f {NOTE_FILE}",
    ]
    assert not any("revoke" in line for line in after)  # nothing was granted that was not there


def test_what_was_there_before_comes_back() -> None:
    phone = ScriptedPhone(
        DO
        | {
            f"[ -f {FLAGS_FILE}": "_ --somebody's",
            "settings get": "com.example.debugged\n",
            "dumpsys package": "android.permission.POST_NOTIFICATIONS: granted=false",
        }
    )
    run_once(phone)
    end = left(phone)[-5:]
    assert "somebody" in end[1]
    assert end[2] == "am set-debug-app --persistent com.example.debugged"
    assert end[3] == f"pm revoke {CHROME} android.permission.POST_NOTIFICATIONS"


def test_the_note_of_a_run_that_was_killed_is_the_truth() -> None:
    note = Note(package=CHROME, flags="_ --users", debug_app=None, granted=True)
    phone = ScriptedPhone(DO | {f"[ -f {NOTE_FILE}": note.model_dump_json()})
    run_once(phone)
    assert not any(f"> {NOTE_FILE}" in line for line in phone.asked)
    assert any("_ --users" in line and FLAGS_FILE in line for line in left(phone)[-5:])
    assert any("pm revoke" in line for line in left(phone))


@pytest.mark.parametrize("note", ["", "garbage", "[]", '{"package": 5}', "{" * 9999])
def test_a_note_that_is_none_is_written_anew(note: str) -> None:
    phone = ScriptedPhone(DO | {f"[ -f {NOTE_FILE}": note})
    run_once(phone)
    assert any(f"> {NOTE_FILE}" in line for line in phone.asked)


def test_words_of_the_phone_are_never_words_of_its_shell() -> None:
    evil = "_ '; reboot #"
    phone = ScriptedPhone(DO | {f"[ -f {FLAGS_FILE}": evil, "settings get": "x; reboot\n"})
    run_once(phone)
    (put_back,) = [line for line in left(phone) if "reboot" in line and NOTE_FILE not in line]
    assert put_back == f"""printf %s '_ '"'"'; reboot #' > {FLAGS_FILE}"""
    assert "am clear-debug-app" in left(phone)


def test_a_browser_that_does_not_start_is_explained_and_put_back() -> None:
    said = "Starting: Intent { x }\nError type 3\nError: Activity class {x} does not exist.\n"
    phone = ScriptedPhone(DO | {"am start": said})
    with pytest.raises(UserError, match="does not start on the phone: Error type 3"):
        run_once(phone)
    assert left(phone)[-1] == f"rm -f {NOTE_FILE}"


def test_a_phone_that_was_lost_is_put_back_when_it_returns() -> None:
    phone = ScriptedPhone(DO)
    phone.comes_back = True

    async def main() -> None:
        async with Chrome(phone.as_phone(), CHROME).running():

            def once(_: str) -> str:
                phone.script["am force-stop"] = ""
                raise TransportLostError("gone")

            phone.script["am force-stop"] = once

    asyncio.run(main())
    assert left(phone)[-1] == f"rm -f {NOTE_FILE}"


def test_a_phone_that_does_not_return_hides_no_other_error() -> None:
    phone = ScriptedPhone(DO)

    async def main() -> None:
        async with Chrome(phone.as_phone(), CHROME).running():
            phone.script["am"] = TransportLostError
            raise ValueError("the body's own")

    with pytest.raises(ValueError, match="the body's own"):
        asyncio.run(main())


def test_what_a_killed_run_left_is_put_back_by_the_next() -> None:
    note = Note(package=CHROME, flags=None, debug_app=None, granted=False)
    phone = ScriptedPhone(DO | {f"[ -f {NOTE_FILE}": note.model_dump_json()})
    assert asyncio.run(Chrome(phone.as_phone(), CHROME).put_back_what_was_left())
    assert left(phone)[-1] == f"rm -f {NOTE_FILE}"
    assert not asyncio.run(Chrome(ScriptedPhone(DO).as_phone(), CHROME).put_back_what_was_left())


def test_a_browser_without_devtools_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)
    phone = ScriptedPhone({"cat /proc/net/unix": "Num\n"})

    async def main() -> None:
        async with Chrome(phone.as_phone(), CHROME).devtools(within=0.1):
            raise AssertionError

    with pytest.raises(CdpLostError, match=r"cannot be driven after .* no DevTools socket"):
        asyncio.run(main())
    assert len(phone.asked) > 1


@pytest.mark.parametrize(
    ("answer", "activity"),
    [
        (f"priority=0\n{CHROME}x/.Main\n", None),
        ("", None),
        ("No activity found\n", None),
        ("priority=0 isDefault=true\norg.other/.Main$1\n", "org.other/.Main$1"),
    ],
)
def test_the_activity_of_other_browsers(answer: str, activity: str | None) -> None:
    phone = ScriptedPhone(DO | {"cmd package": answer})
    browser = Chrome(phone.as_phone(), "org.other")
    if activity is None:
        with pytest.raises(UserError, match="no activity"):
            asyncio.run(browser.start())
        return
    asyncio.run(browser.start())
    assert any(f"am start -W -n '{activity}'" in line for line in phone.asked)


def test_a_package_must_be_one() -> None:
    with pytest.raises(UserError, match="no name of an Android package"):
        Chrome(ScriptedPhone().as_phone(), "com.x; reboot")


@pytest.mark.parametrize(("text", "pid"), [("4711\n", 4711), ("4711 5\n", 4711), ("", None)])
def test_the_browsers_process(text: str, pid: int | None) -> None:
    phone = ScriptedPhone({"pidof": text})
    assert asyncio.run(Chrome(phone.as_phone(), CHROME).pid()) == pid
