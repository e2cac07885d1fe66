"""A job of many requests: each answered once, in any order, and kept as it is answered.

answer.txt has one JSON object to a line: {"id","text","tokens","finish_reason"}, or {"id","error"}.
Lines answered by an earlier attempt that wrote on this machine are taken over, not asked again.
"""

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, final

from providers import durable
from providers.engine.dialects import Line
from providers.engine.llamacpp import ANSWER_FILE
from providers.engine_child.answering import Reply
from providers.engine_child.asking import Cut

MAX_OLD_BYTES: Final = 1 << 30  # of an earlier attempt's answers, read back


@final
class Answers:
    """The lines that have their answer, on disk."""

    def __init__(self, job_dir: Path) -> None:
        self._lock: Final = threading.Lock()
        self.done: Final = earlier(job_dir)
        self.failed = sum(1 for one in self.done.values() if "error" in one)
        descriptor = durable.private_file(job_dir / ANSWER_FILE, os.O_TRUNC)
        self._out: Final = os.fdopen(descriptor, "wb", buffering=0)
        for row in self.done.values():
            self._out.write(encoded(row))

    def put(self, reply: Reply) -> None:
        """Keep one answer: written whole, in one call."""
        row: dict[str, object] = {"line": reply.line.number, "id": reply.line.id}
        if reply.error:
            row["error"] = reply.error
        else:
            said = {"text": reply.text, "tokens": reply.tokens, "finish_reason": reply.finish}
            row |= said
        with self._lock:
            if reply.line.number not in self.done:
                self.done[reply.line.number] = row
                self.failed += bool(reply.error)
                self._out.write(encoded(row))

    def close(self) -> None:
        """No more will come."""
        self._out.close()


def encoded(row: dict[str, object]) -> bytes:
    """One line of answer.txt. Half a character, as a cut token leaves it, becomes a mark."""
    return json.dumps(row, ensure_ascii=False).encode(errors="replace") + b"\n"


def earlier(job_dir: Path) -> dict[int, dict[str, object]]:
    """Answers of the attempts before this one whose folders stand beside it, by line number."""
    found: dict[int, dict[str, object]] = {}
    if not job_dir.name.isdigit():
        return found
    for path in sorted(job_dir.parent.glob(f"*/{ANSWER_FILE}")):
        name = path.parent.name
        if name.isdigit() and int(name) < int(job_dir.name):
            found |= whole_rows(path)
    return found


def whole_rows(path: Path) -> dict[int, dict[str, object]]:
    """The answers in a file that may end in the middle of one; refused lines are tried again."""
    rows: dict[int, dict[str, object]] = {}
    try:
        with path.open("rb") as file:
            lines = file.read(MAX_OLD_BYTES).split(b"\n")[:-1]
    except OSError:
        return rows
    for raw in lines:
        try:
            row = json.loads(raw)
        except ValueError:
            continue
        if isinstance(row, dict) and type(row.get("line")) is int and "text" in row:
            rows[row["line"]] = row
    return rows


def answer_all(
    lines: Sequence[Line],
    answers: Answers,
    ask: Callable[[Line], Reply],
    *,
    parallel: int,
    stopped: Callable[[], bool],
) -> list[Reply]:
    """Ask every line without an answer, `parallel` at once. Raises the Cut that ended it early."""
    waiting: queue.SimpleQueue[Line] = queue.SimpleQueue()
    for line in lines:
        if line.number not in answers.done:
            waiting.put(line)
    replies, cuts = list[Reply](), list[Cut]()

    def work() -> None:
        while not cuts and not stopped():
            try:
                line = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                reply = ask(line)
            except Cut as error:
                cuts.append(error)
                return
            replies.append(reply)
            answers.put(reply)
            progress(len(answers.done), len(lines), answers.failed)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(parallel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if cuts and not stopped():
        raise cuts[0]
    return replies


def progress(done: int, total: int, failed: int) -> None:
    """One line in the log at each hundredth, and at the end."""
    if done == total or done * 100 // total != (done - 1) * 100 // total:
        refused = f", {failed} refused" if failed else ""
        print(f"answered {done} of {total}{refused}", file=sys.stderr, flush=True)
