"""RunPod's own MCP server against our stand-in: `python -m tests.vendors.drive_runpodmcp FOLDER`.

FOLDER is where npm put @runpod/mcp-server (`npm install --prefix FOLDER`); node 20+ runs it.
"""

from __future__ import annotations

import asyncio
import sys

from tests.vendors.drive_runpod import HERE, drive

if __name__ == "__main__":
    entry = f"{sys.argv[1]}/node_modules/@runpod/mcp-server/dist/stdio.mjs"
    sys.exit(asyncio.run(drive([sys.executable, str(HERE / "runpod_mcp.py")], entry)))
