"""Many devices and many hosts: what a fleet is, what it is asked for, and the jobs that follow."""
