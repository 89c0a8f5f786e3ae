"""The Android behind a virtual phone: commands, dumps, Chrome, apps, and how Android tells deaths.

Nothing of Android runs here: every answer is made from one typed state (`state.py`), in the form
that Android's own sources print it; what is not known fails loudly and is counted. Chrome is a
real Chromium (`chrome/`), its memory limit is the kernel's, and its deaths are real ones.
"""
