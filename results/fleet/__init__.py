"""Runs of many attempts on many hosts: what was asked for, what happened, what counts."""
