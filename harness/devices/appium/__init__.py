"""Appium as the second way to a phone: Chrome, WebViews, and native apps that run a model.

installation  what Appium needs on this machine, and how to get what is missing
server        a private server, ended with everything that it started
guard         the process between: it ends the server's processes when its owner is gone
capabilities  what sessions are asked for; pure
session       one session: a typed, asynchronous face of the Appium client
app           descriptions of native apps, read from TOML files
figures       numbers out of an app's texts; pure
native_app    one prompt in one app, measured and judged
"""
