"""Chrome on the virtual phone: a real Chromium that shows itself as the phone's Chrome.

What a page or a worker sees as on the phone: user agent and its client hints, `deviceMemory`,
`hardwareConcurrency` (not more than the host has), `platform`, the screen with its density, touch.
What it does not: the processor (native instructions, WebAssembly's speed), the GPU and its limits,
codecs, and memory pressure signals before the kill. `deviceMemory`, `platform` (in workers) and
`onLine` are defined by a script before the page's first: their getters are no native code to a page
that looks.
"""
