"""Appium as the second way to a phone: Chrome, WebViews, and native apps that run a model.

installation  what Appium needs on this machine, and how to get what is missing
server        a private server, ended with everything that it started
guard         the process between: it ends the server's processes when its owner is gone
capabilities  what sessions are asked for; pure
session       one session: a typed, asynchronous face of the Appium client
browsing      Chrome and WebViews
app           descriptions of native apps, read from TOML files
figures       numbers out of an app's texts; pure
driving       a user's hands on an app
app_watch     the same app from outside: memory, the phone's log, its exit records
measuring     what was seen, as a measurement; pure
readiness     whether an app and its model are on the phone
asking        what a run asks of apps: its options
native_app    one prompt in one app: all of this together
"""
