"""For every test: no deadlines, because the machine is shared; no terminal of whoever runs it."""

import os

from hypothesis import settings

settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

os.environ.pop("COLUMNS", None)  # of whoever runs the tests; pytest-xdist sets it for its workers
