"""What is run in a page of Safari. A page there has no binding: it keeps what it has to tell.

WebDriver runs a script as the body of a function and waits for what it returns; a promise is not
waited for. So everything here returns at once, and what takes time is asked for again.
"""

from __future__ import annotations

from typing import Final

#: So many events are taken at once, and so many characters of each answer.
MOST_EVENTS: Final = 200
MOST_CHARACTERS: Final = 4 << 20

#: Marks the page: one that was loaded anew has not the mark. Argument: the mark.
LISTEN: Final = """
if (globalThis.tierlabMark === undefined) {
  globalThis.tierlabMark = arguments[0];
  globalThis.tierlabTold = [];
  globalThis.tierlabAnswers = {};
  globalThis.tierlabEmit = (event) => { globalThis.tierlabTold.push(event); };
  const failed = (error) => globalThis.tierlabEmit({
    type: "error",
    name: String(error?.name ?? "Error"),
    message: String(error?.message ?? error).slice(0, 4000),
  });
  addEventListener("error", (event) => failed(event.error ?? event.message));
  addEventListener("unhandledrejection", (event) => failed(event.reason));
}
return globalThis.tierlabMark === arguments[0] && document.readyState === "complete";
"""

#: The mark and what was told since the last call, as JSON. Argument: how many events at most.
TAKE: Final = """
const told = globalThis.tierlabTold?.splice(0, arguments[0]) ?? [];
return JSON.stringify({
  mark: globalThis.tierlabMark ?? null, told, title: document.title.slice(0, 200),
});
"""

#: Calls a global function. Arguments: a number for the call, the function's name, its argument.
CALL: Final = """
const [number, name, argument] = arguments;
const answers = globalThis.tierlabAnswers;
const keep = (answer) => { answers[number] = answer; };
(async () => globalThis[name](argument))().then(
  (value) => keep({ value: value ?? null }),
  (error) => keep({ error: `${error?.name}: ${error?.message ?? error}`.slice(0, 4000) }),
);
return globalThis.tierlabMark ?? null;
"""

#: What a call came to, as JSON; null while it has not. Argument: the number of the call.
ANSWER: Final = """
const answer = globalThis.tierlabAnswers?.[arguments[0]];
if (globalThis.tierlabMark === undefined) return JSON.stringify({ error: "the page is a new one" });
if (answer === undefined) return null;
delete globalThis.tierlabAnswers[arguments[0]];
return JSON.stringify(answer);
"""
