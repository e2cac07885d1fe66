"""A task of the Windows Task Scheduler. Unproven: written from Microsoft's schema, tried on no
Windows machine of ours."""

import re
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from providers.service.manager import NAME, Service, ServiceError, Standing, ask, last_line, tell

HINT: Final = f"schtasks /Query /TN {NAME} /V says more"
# The scheduler knows no shorter pause, and no more attempts.
RESTART: Final = "PT1M"
ATTEMPTS: Final = 999
# What cmd.exe reads as its own within quotes.
UNSPEAKABLE: Final = re.compile(r'[%"!^&|<>]')

TEMPLATE: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- {title}. Written by `fleet service install`, and written over by the next one.
     Unproven: no Windows machine of ours has run it yet. -->
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <Triggers><LogonTrigger><Enabled>true</Enabled></LogonTrigger></Triggers>
  <Principals>
    <Principal id="Author">
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>{restart}</Interval><Count>{attempts}</Count></RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>cmd.exe</Command>
      <Arguments>{arguments}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


class TaskScheduler:
    """The user's tasks. A task has no variables of its own, so cmd.exe sets them."""

    kind = "Task Scheduler"
    proven = False

    def __init__(self, folder: Path) -> None:
        self.file = folder / f"{NAME}.task.xml"

    def missing(self) -> str:
        """`schtasks` is part of Windows."""
        done = ask("schtasks", "/Query", "/FO", "LIST")
        return f"the Task Scheduler does not answer: {last_line(done)}" if done.returncode else ""

    def render(self, service: Service) -> str:
        """The task."""
        for word in (*service.command, *(value for _, value in service.variables)):
            if UNSPEAKABLE.search(word):
                text = f"the Task Scheduler cannot be told {word[:60]!r}"
                raise ServiceError(text, "a folder without % ! ^ & | < > in its name")
        sets = "".join(f'set "{key}={value}"&& ' for key, value in service.variables)
        words = " ".join(f'"{word}"' for word in service.command)
        return TEMPLATE.format(
            title=escape(service.title),
            restart=RESTART,
            attempts=ATTEMPTS,
            arguments=escape(f'/d /s /c "{sets}{words}"'),
        )

    def load(self, *, fresh: bool, now: bool) -> None:
        """Create the task from its file, over an older one; with `now` run it."""
        tell(("schtasks", "/Create", "/TN", NAME, "/XML", str(self.file), "/F"), HINT)
        if now and fresh:
            ask("schtasks", "/End", "/TN", NAME)  # one of an older file, if it runs
        if now:
            tell(("schtasks", "/Run", "/TN", NAME), HINT)

    def unload(self) -> None:
        """End it and delete the task."""
        ask("schtasks", "/End", "/TN", NAME)
        tell(("schtasks", "/Delete", "/TN", NAME, "/F"), HINT)

    def standing(self) -> Standing:
        """The scheduler tells no process id."""
        done = ask("schtasks", "/Query", "/TN", NAME, "/FO", "LIST")
        said = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
        there = done.returncode == 0
        return Standing(
            installed=there, starts_at_login=there, text=said.get("Status", "no task").strip()
        )

    def advice(self) -> str:
        """A task with an interactive token lives in its user's session."""
        return "it runs while you are logged in"
