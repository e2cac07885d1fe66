"""A launch agent of macOS. Unproven: written from Apple's manual pages, tried on no Mac of ours."""

import os
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

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

HINT: Final = f"launchctl print gui/UID/{NAME} says more"

TEMPLATE: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- {title}. Written by `fleet service install`, and written over by the next one.
     Unproven: no Mac of ours has run it yet. -->
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key><string>{name}</string>
  <key>ProgramArguments</key>
  <array>
{command}
  </array>
  <key>EnvironmentVariables</key>
  <dict>
{variables}
  </dict>
  <key>RunAtLoad</key><true/>
  <!-- Started anew after a failure, with a pause; not after `fleet down`. -->
  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>
  <key>ThrottleInterval</key><integer>{restart}</integer>
  <key>ExitTimeOut</key><integer>{stop}</integer>
  <!-- Jobs outlive the daemon; the next one adopts them. -->
  <key>AbandonProcessGroup</key><true/>
  <key>Umask</key><integer>63</integer>
  <!-- Every client and every stream holds a file open; the usual 256 are a hundred of them. -->
  <key>SoftResourceLimits</key><dict><key>NumberOfFiles</key><integer>{files}</integer></dict>
</dict>
</plist>
"""


class Launchd:
    """The user's session. It knows no exit code after which it should not restart."""

    kind = "launchd"
    proven = False

    def __init__(self, home: Path | None = None) -> None:
        self.file = (home or Path.home()) / "Library" / "LaunchAgents" / f"{NAME}.plist"

    def missing(self) -> str:
        """Over SSH with nobody logged in there is no session to start it in."""
        done = ask("launchctl", "print", _domain())
        return f"launchd has no session of this user: {last_line(done)}" if done.returncode else ""

    def render(self, service: Service) -> str:
        """The property list."""
        return TEMPLATE.format(
            title=_comment(service.title),
            name=NAME,
            command="\n".join(f"    <string>{escape(one)}</string>" for one in service.command),
            variables="\n".join(
                f"    <key>{escape(key)}</key><string>{escape(value)}</string>"
                for key, value in service.variables
            ),
            restart=RESTART_S,
            stop=STOP_S,
            files=OPEN_FILES,
        )

    def load(self, *, fresh: bool, now: bool) -> None:
        """Loaded is started: RunAtLoad. Without `now` the file waits for the next login."""
        if not now:
            return
        there = ask("launchctl", "print", f"{_domain()}/{NAME}").returncode == 0
        if there and fresh:
            tell(("launchctl", "bootout", f"{_domain()}/{NAME}"), HINT)
        if there and not fresh:
            tell(("launchctl", "kickstart", f"{_domain()}/{NAME}"), HINT)
        else:
            tell(("launchctl", "bootstrap", _domain(), str(self.file)), HINT)

    def unload(self) -> None:
        """One that is not loaded needs nothing."""
        if ask("launchctl", "print", f"{_domain()}/{NAME}").returncode == 0:
            tell(("launchctl", "bootout", f"{_domain()}/{NAME}"), HINT)

    def standing(self) -> Standing:
        """From `launchctl print`, whose lines are "key = value"."""
        done = ask("launchctl", "print", f"{_domain()}/{NAME}")
        said = dict(
            line.strip().split(" = ", 1) for line in done.stdout.splitlines() if " = " in line
        )
        pid = said.get("pid", "0")
        return Standing(
            installed=self.file.exists(),
            starts_at_login=self.file.exists(),
            pid=int(pid) if pid.isdigit() else 0,
            text=said.get("state", "not loaded"),
        )

    def advice(self) -> str:
        """An agent lives in its user's session."""
        return "it runs while you are logged in; let this Mac log in by itself if nobody does"


def _domain() -> str:
    return f"gui/{os.getuid()}"


def _comment(text: str) -> str:
    return escape(text).replace("--", "- -")
