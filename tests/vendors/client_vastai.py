"""Run by the Python of Vast.ai's own client: its SDK's methods, called by name."""

import json
import os
import sys

from vastai import VastAI


def main() -> None:
    sdk = VastAI(api_key=os.environ["TEST_KEY"], server_url=os.environ["TEST_URL"])
    out, sys.stdout = sys.stdout, sys.stderr  # what it prints is no answer
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"result": getattr(sdk, asked["call"])(*asked["args"], **asked["kwargs"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(answer) + "\n")
        out.flush()


main()
