"""A Buildbot master and its workers, configured for a lab: the only modules that import Buildbot.

Nothing else of the project imports them. Buildbot (GPL-2) is a service beside tierlab, in processes
of its own: the master loads `harness.fleet.buildbot.master` from its master.cfg, and whatever is
done with results there, a `tierlab` command does, in yet another process.
"""
