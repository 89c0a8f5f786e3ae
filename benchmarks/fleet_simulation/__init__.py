"""A night of a lab of thousands of phones, simulated: `python -m benchmarks.fleet_simulation`.

parameters.toml   every figure that goes in, with where it is from
parameters.py     reading and checking them
trials.py         how long trials take: drawn from those that were measured
lab.py            phones, hosts, profiles and requests of one lab, by seed
policy.py         what is chosen: order, health, retries, deadline
queueing.py       the requests of a profile that wait for a device
phone.py          how a phone fails and what a check of it finds
night.py          the simulation: a worker a phone, losses of workers, hosts and the controller
outcome.py        what came of it, beside what no schedule can beat
experiments.py    what is compared, one change at a time
"""
