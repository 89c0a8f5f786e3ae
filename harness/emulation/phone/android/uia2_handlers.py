"""What UiAutomator2's server does for each of its routes.

Values as in the handlers of appium/appium-uiautomator2-server; of gestures only touches do
something.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from harness.emulation.phone.android.commands.screen import screenshot
from harness.emulation.phone.android.uia2_screen import NoSuchElementError, UiScreen

if TYPE_CHECKING:
    from harness.emulation.phone.android.phone import Phone

_ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"
_LEGACY: Final = "ELEMENT"
_LONGEST_TEXT: Final = 1 << 20
_ATTRIBUTES: Final = {
    "name": "content-desc",
    "contentDescription": "content-desc",
    "className": "class",
    "resourceId": "resource-id",
    "content_desc": "content-desc",
}

Body = dict[str, Any]
Handler = Callable[..., Awaitable[Any]]


class Handlers:
    """The handlers of one session.

    Args:
        phone: what is driven.
        end: called when the session is over.
    """

    def __init__(self, phone: Phone, end: Callable[[], None]) -> None:
        self._phone = phone
        self._end_session = end
        self._screen = UiScreen(phone)
        self._settings: Body = {}
        self._clipboard = ""

    def table(self) -> list[tuple[str, str, Handler]]:
        """Method, pattern of the path behind the session, handler."""
        element = r"/element/([^/]+)"
        return [
            ("DELETE", "/", self._end),
            ("GET", "/", self._session),
            ("POST", "/timeouts(?:/.*)?", self._nothing),
            ("GET", "/source", self._source),
            ("GET", "/screenshot", self._picture),
            ("GET", f"{element}/screenshot", self._element_picture),
            ("POST", "/element", self._find_one),
            ("POST", "/elements", self._find_all),
            ("POST", f"{element}/element", self._find_one_under),
            ("POST", f"{element}/elements", self._find_all_under),
            ("GET", "/element/active", self._active),
            ("POST", f"{element}/click", self._click),
            ("POST", f"{element}/clear", self._clear),
            ("POST", f"{element}/value", self._type),
            ("POST", r"/appium/element/([^/]+)/(?:value|replace_value)", self._replace),
            ("GET", f"{element}/text", self._text),
            ("GET", f"{element}/name", self._tag),
            ("GET", f"{element}/attribute/([^/]+)", self._attribute),
            ("GET", f"{element}/(enabled|displayed|selected)", self._truth),
            ("GET", f"{element}/(rect|size|location)", self._rect),
            ("POST", "/keys", self._keys),
            ("POST", "/actions", self._actions),
            ("POST", "/back", self._back),
            ("POST", "/touch/click", self._touch),
            ("POST", "/appium/gestures/click", self._touch),
            ("POST", "/appium/tap", self._touch),
            ("POST", r"/appium/gestures/(?:scroll|swipe|fling)", self._no_scroll),
            ("POST", "/appium/device/press_keycode", self._key),
            ("POST", "/appium/device/long_press_keycode", self._key),
            ("GET", "/window/(?:current/size|rect)", self._size),
            ("GET", "/orientation", self._orientation),
            ("POST", "/orientation", self._nothing),
            ("GET", "/rotation", self._rotation),
            ("GET", "/alert/text", self._no_alert),
            ("POST", "/alert/(?:accept|dismiss)", self._no_alert),
            ("GET", "/appium/settings", self._get_settings),
            ("POST", "/appium/settings", self._put_settings),
            ("GET", "/appium/device/info", self._info),
            ("GET", "/appium/device/system_bars", self._bars),
            ("GET", "/appium/device/pixel_ratio", self._ratio),
            ("GET", "/appium/device/display_density", self._density),
            ("GET", "/appium/device/battery_info", self._battery),
            ("POST", "/appium/device/get_clipboard", self._get_clipboard),
            ("POST", "/appium/device/set_clipboard", self._set_clipboard),
            ("POST", "/appium/reset_ax_cache", self._nothing),
            ("POST", "/network_connection", self._nothing),
        ]

    # -- handlers ---------------------------------------------------------------------------------

    async def _nothing(self, _: Body) -> None:
        return None

    async def _end(self, _: Body) -> None:
        self._screen.handles.clear()
        self._end_session()

    async def _session(self, _: Body) -> Body:
        state = self._phone.state
        width, height = state.screen.size
        return {
            "lastScrollData": None,
            "statBarHeight": self._screen.status_bar,
            "viewportRect": {
                "left": 0,
                "top": self._screen.status_bar,
                "width": width,
                "height": height - self._screen.status_bar,
            },
            "pixelRatio": state.screen.scale,
            "deviceApiLevel": state.api,
            "deviceScreenSize": f"{width}x{height}",
            "deviceScreenDensity": state.screen.dots,
            "deviceModel": state.properties.get("ro.product.model", ""),
            "deviceManufacturer": state.properties.get("ro.product.manufacturer", ""),
            "platformVersion": state.properties.get("ro.build.version.release", ""),
        }

    async def _source(self, _: Body) -> str:
        return self._screen.source()

    async def _picture(self, _: Body) -> str:
        return base64.b64encode(await screenshot(self._phone)).decode("ascii")

    async def _element_picture(self, body: Body, handle: str) -> str:
        self._screen.node(handle)
        return await self._picture(body)

    def _find(self, body: Body, under: str | None = None) -> list[Body]:
        strategy = str(body.get("strategy") or body.get("using") or "")
        value = str(body.get("selector") or body.get("value") or "")
        under = under or str(body.get("context") or "") or None
        found = self._screen.find(strategy, value, under)
        return [{_ELEMENT: handle, _LEGACY: handle} for handle in found]

    async def _find_one(self, body: Body, under: str | None = None) -> Body:
        found = self._find(body, under)
        if not found:
            raise NoSuchElementError(
                "An element could not be located on the page using the given search parameters"
            )
        return found[0]

    async def _find_all(self, body: Body, under: str | None = None) -> list[Body]:
        return self._find(body, under)

    _find_one_under = _find_one
    _find_all_under = _find_all

    async def _active(self, _: Body) -> Body:
        focused = [node for node in self._screen.tree().walk() if node.focused]
        if not focused:
            raise NoSuchElementError("nothing has the focus")
        handle = self._screen.handle(focused[0])
        return {_ELEMENT: handle, _LEGACY: handle}

    async def _click(self, _: Body, handle: str) -> None:
        self._screen.click(handle)

    async def _clear(self, _: Body, handle: str) -> None:
        if not self._screen.type(handle, "", replace=True):
            raise ValueError("this element takes no text")

    async def _type(self, body: Body, handle: str) -> None:
        if not self._screen.type(handle, _typed(body), replace=bool(body.get("replace"))):
            raise ValueError("this element takes no text")

    async def _replace(self, body: Body, handle: str) -> None:
        if not self._screen.type(handle, _typed(body), replace=True):
            raise ValueError("this element takes no text")

    async def _text(self, _: Body, handle: str) -> str:
        return self._screen.node(handle).text

    async def _tag(self, _: Body, handle: str) -> str:
        node = self._screen.node(handle)
        return node.description or node.text

    async def _attribute(self, _: Body, handle: str, name: str) -> str | None:
        attributes = self._screen.node(handle).attributes()
        if name == "name":
            return attributes["content-desc"] or attributes["text"]
        key = _ATTRIBUTES.get(name, name)
        if key not in attributes:
            raise ValueError(f"'{name}' attribute is unknown for the element")
        return attributes[key]

    async def _truth(self, _: Body, handle: str, name: str) -> bool:
        return self._screen.node(handle).attributes()[name] == "true"

    async def _rect(self, _: Body, handle: str, part: str) -> Body:
        bounds = self._screen.node(handle).bounds
        place, size = (
            {"x": bounds.x, "y": bounds.y},
            {"width": bounds.width, "height": bounds.height},
        )
        return {"rect": {**place, **size}, "size": size, "location": place}[part]

    async def _keys(self, body: Body) -> None:
        self._screen.type(None, _typed(body), replace=False)

    async def _actions(self, body: Body) -> None:
        """W3C actions: the point of each touch is touched (`pointerUp` after the last move)."""
        for source in body.get("actions") or []:
            if source.get("type") != "pointer":
                continue
            x = y = 0.0
            for action in source.get("actions") or []:
                if action.get("type") == "pointerMove":
                    x, y = self._point(action, action.get("origin"))
                elif action.get("type") == "pointerUp":
                    self._screen.click_at(x, y)

    def _point(self, place: Body, origin: object) -> tuple[float, float]:
        x, y = float(place.get("x") or 0), float(place.get("y") or 0)
        if isinstance(origin, dict):
            handle = str(origin.get(_ELEMENT) or origin.get(_LEGACY))
            middle = self._screen.node(handle).bounds.center
            return middle[0] + x, middle[1] + y
        return x, y

    async def _touch(self, body: Body) -> None:
        origin = body.get("origin")
        offset = body.get("offset") or {}
        if isinstance(origin, dict) and not offset:
            self._screen.click(str(origin.get(_ELEMENT) or origin.get(_LEGACY)))
        elif isinstance(body.get("element"), str):
            self._screen.click(str(body["element"]))
        else:
            self._screen.click_at(*self._point(offset or body, origin))

    async def _no_scroll(self, _: Body) -> bool:
        return False  # everything is on the screen: nothing more can be scrolled

    async def _back(self, _: Body) -> None:
        self._screen.back()

    async def _key(self, body: Body) -> None:
        if body.get("keycode") in {3, 4}:  # home, back
            self._screen.back()

    async def _size(self, _: Body) -> Body:
        width, height = self._phone.state.screen.size
        return {"x": 0, "y": 0, "width": width, "height": height}

    async def _orientation(self, _: Body) -> str:
        width, height = self._phone.state.screen.size
        return "LANDSCAPE" if width > height else "PORTRAIT"

    async def _rotation(self, _: Body) -> Body:
        return {"x": 0, "y": 0, "z": self._phone.state.screen.rotation * 90}

    async def _no_alert(self, _: Body) -> None:
        raise NoSuchElementError("no alert is open")

    async def _get_settings(self, _: Body) -> Body:
        return dict(self._settings)

    async def _put_settings(self, body: Body) -> Body:
        settings = body.get("settings")
        if isinstance(settings, dict):
            self._settings.update(settings)
        return dict(self._settings)

    async def _info(self, _: Body) -> Body:
        state, properties = self._phone.state, self._phone.state.properties
        width, height = state.screen.size
        return {
            "androidId": state.settings["secure"].get("android_id", ""),
            "apiVersion": str(state.api),
            "brand": properties.get("ro.product.brand", ""),
            "carrierName": "",
            "displayDensity": state.screen.dots,
            "manufacturer": properties.get("ro.product.manufacturer", ""),
            "model": properties.get("ro.product.model", ""),
            "platformVersion": properties.get("ro.build.version.release", ""),
            "realDisplaySize": f"{width}x{height}",
            "timeZone": properties.get("persist.sys.timezone", "UTC"),
            "locale": "en_US",
            "networks": [],
            "bluetooth": {"state": "OFF"},
        }

    async def _bars(self, _: Body) -> Body:
        width, _height = self._phone.state.screen.size
        height = self._screen.status_bar
        return {
            "statusBar": height,
            "isStatusBarVisible": True,
            "statusBarBounds": {"x": 0, "y": 0, "width": width, "height": height},
        }

    async def _ratio(self, _: Body) -> float:
        return self._phone.state.screen.scale

    async def _density(self, _: Body) -> int:
        return self._phone.state.screen.dots

    async def _battery(self, _: Body) -> Body:
        battery = self._phone.state.battery
        return {"level": battery.level / 100, "status": battery.status}

    async def _get_clipboard(self, _: Body) -> str:
        return self._clipboard

    async def _set_clipboard(self, body: Body) -> None:
        self._clipboard = str(body.get("content") or "")[:_LONGEST_TEXT]


def _typed(body: Body) -> str:
    text, value = body.get("text"), body.get("value")
    if isinstance(text, str):
        return text
    return "".join(str(part) for part in value) if isinstance(value, list) else ""
