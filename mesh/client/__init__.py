"""The fleet for notebooks and scripts: `from mesh.client import Fleet`.

Synchronous, typed, and of the standard library alone; it asks the daemon of this machine, as the
command line does. Answers are plain dicts and lists with the names of the HTTP API, that show
themselves as tables; `.table()` gives rows for pandas.DataFrame, `.plot()` a column as a picture.
"""

from mesh.client.errors import FleetError
from mesh.client.fleet import Fleet
from mesh.client.job import Job
from mesh.client.picture import Picture
from mesh.client.shown import Answer, Rows

__all__ = ["Answer", "Fleet", "FleetError", "Job", "Picture", "Rows"]
