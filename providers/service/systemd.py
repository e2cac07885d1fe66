"""A unit of the user's own systemd: no root, nothing outside the user's files."""

import os
from pathlib import Path
from typing import Final

from providers.service.manager import (
    NAME,
    OPEN_FILES,
    RESTART_S,
    STOP_S,
    Service,
    Standing,
    ask,
    last_line,
    tell,
)

UNIT: Final = f"{NAME}.service"
HINT: Final = f"systemctl --user status {UNIT} says more"
_ASKED: Final = "LoadState,UnitFileState,ActiveState,SubState,MainPID,Result,NRestarts"

TEMPLATE: Final = """\
# {title}. Written by `fleet service install`, and written over by the next one.
[Unit]
Description={title}
# Never give up: a full disk is cleared one day.
StartLimitIntervalSec=0

[Service]
Type=exec
{variables}
ExecStart={command}
Restart=on-failure
RestartSec={restart}
# Wrong settings, a damaged ledger: a person has to look first.
RestartPreventExitStatus={final}
# Jobs outlive the daemon; the next one adopts them.
KillMode=process
TimeoutStopSec={stop}
UMask=0077
# Every client and every stream holds a file open; the usual 1024 are a few hundred of them.
LimitNOFILE={files}

[Install]
WantedBy=default.target
"""


class Systemd:
    """The user's manager."""

    kind = "systemd"
    proven = True

    def __init__(self, config: Path | None = None) -> None:
        chosen = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        self.file = (config or Path(chosen)) / "systemd" / "user" / UNIT

    def missing(self) -> str:
        """Asked of the bus: `systemctl` alone is in many containers."""
        done = ask("systemctl", "--user", "show-environment")
        return f"systemd does not run for this user: {last_line(done)}" if done.returncode else ""

    def render(self, service: Service) -> str:
        """The unit."""
        variables = (f"Environment={_quoted(f'{k}={v}')}" for k, v in service.variables)
        return TEMPLATE.format(
            title=service.title,
            variables="\n".join(variables),
            command=" ".join(_argument(word) for word in service.command),
            restart=RESTART_S,
            final=" ".join(map(str, service.final_codes)),
            stop=STOP_S,
            files=OPEN_FILES,
        )

    def load(self, *, fresh: bool, now: bool) -> None:
        """Reload, enable, and with `now` start; one that runs from an older file is restarted."""
        if fresh:
            tell(("systemctl", "--user", "daemon-reload"), HINT)
        tell(("systemctl", "--user", "enable", UNIT), HINT)
        if now:
            verb = "restart" if fresh else "start"
            tell(("systemctl", "--user", verb, UNIT), HINT)

    def unload(self) -> None:
        """Stop and disable."""
        tell(("systemctl", "--user", "disable", "--now", UNIT), HINT)

    def standing(self) -> Standing:
        """From `systemctl show`, which answers for a unit that is not there, too."""
        done = ask("systemctl", "--user", "show", UNIT, f"--property={_ASKED}")
        said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        pid = said.get("MainPID", "0")
        restarts = said.get("NRestarts", "0")
        text = f"{said.get('ActiveState', 'unknown')} ({said.get('SubState', '')})"
        if said.get("Result", "success") != "success":
            text += f", ended last with {said['Result']}"
        if restarts not in ("0", ""):
            text += f", restarted {restarts} times"
        return Standing(
            installed=self.file.exists(),
            starts_at_login=said.get("UnitFileState") == "enabled",
            pid=int(pid) if pid.isdigit() else 0,
            text=text,
        )

    def advice(self) -> str:
        """Without lingering, the user's services end with the last session."""
        done = ask("loginctl", "show-user", _user(), "--property=Linger", "--value")
        return "" if done.stdout.strip() == "yes" else "loginctl enable-linger"


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def _quoted(text: str) -> str:
    """One word of a unit, where \\ and " are read within quotes, and % begins a specifier."""
    inner = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{inner}"'


def _argument(word: str) -> str:
    """A word of a command line, in which $ would begin a variable, too."""
    plain = word.replace("-", "").replace("_", "").replace("/", "").replace(".", "")
    return word if plain.isalnum() and plain.isascii() else _quoted(word.replace("$", "$$"))
