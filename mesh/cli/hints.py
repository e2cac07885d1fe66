"""Hints that the daemon words for programs, as a person at a terminal can follow them."""

from typing import Final

COMMANDS: Final = {
    "see GET /v1/jobs": "fleet ps -a lists them",
    "see GET /v1/devices": "fleet devices lists them",
    "see GET /v1/status": "fleet status",
    "GET /v1/models lists them": "fleet models lists them",
    "GET /v1/telemetry?peer=all&once=1": "fleet top",
    "as POST /v1/jobs has it": "fleet run --help",
    "see daemon.log": "fleet logs --daemon",
    "see daemon.log in the state directory": "fleet logs --daemon",
    # The daemon holds another token than the file: a new start reads the file.
    "send Authorization: Bearer with the text of FLEET_HOME/token": (
        "fleet down, then fleet up --detach"
    ),
}


def as_command(hint: str) -> str:
    """The command that does what a hint of the API asks for; any other hint as it is."""
    return COMMANDS.get(hint, hint)
