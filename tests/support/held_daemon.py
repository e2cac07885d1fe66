"""`fleet up` of this tree, held in the midst of its start until a file is there.

argv: STEP EVENTS GATE, then the words of `fleet`. Once the step has done so many events it waits
for the file GATE, in the thread that works: what is seen meanwhile does not depend on time.
"""

import sys
import time
from pathlib import Path

from mesh.cli.app import run
from mesh.edge.starting.progress import Starting
from mesh.edge.store.care.progress import Say

POLL_S = 0.02


def main(step: str, events: int, gate: Path, words: list[str]) -> int:
    begin = Starting.step

    def held(self: Starting, what: str) -> Say:
        say = begin(self, what)

        def waits(done: int, count: int) -> None:
            say(done, count)
            while what == step and done >= events and not gate.exists():
                say(done, count)
                time.sleep(POLL_S)

        return waits

    Starting.step = held  # type: ignore[method-assign]
    return run(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
