"""Is somebody at this machine, and does it run on mains? A pure parser and a thin reader a source.

`reading.read_presence` and `reading.read_power` choose among them; `asking.Asker` gives each its
deadline. Nothing here needs root, or a package of its own.
"""
