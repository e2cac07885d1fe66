"""Stand-ins of clouds: stateful, on a virtual clock, with a billing meter and fault knobs.

One core answers both the simulation (in virtual time, no sockets) and a real HTTP server
(`server.py`), which the vendors' own clients prove faithful (scripts/test-vendors).
"""
