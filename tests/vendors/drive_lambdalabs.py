"""The client that others wrote for Lambda Cloud against our stand-in: `python -m
tests.vendors.drive_lambdalabs FOLDER`, a virtual environment that has it."""

import asyncio
import sys
from pathlib import Path

from tests.vendors.lambda_client import prove

if __name__ == "__main__":
    sys.exit(1 if asyncio.run(prove(Path(sys.argv[1], "bin", "python"))) else 0)
