"""An attempt as text for its host, and what its host says of it as an outcome. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from providers.base import Handle, Launch, Outcome, ProviderError
from providers.engine.llamacpp import ANSWER_FILE
from providers.log import MAX_TEXT_CHARS, last_words, says_out_of_memory, spoken
from providers.runner import JOB_DIR, SETUP_EXIT

JOB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# A PCI address, "cpu", or a name of our own; behind a slash the slice of a card.
LOCK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,79}(?:/[A-Za-z0-9][A-Za-z0-9:._-]{0,79})?")
VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
# Linux takes 128 KiB in one argument and 2 MiB in all; a script of more is no command line.
MAX_SCRIPT_BYTES: Final = 1024 * 1024
MAX_PARTS: Final = 16  # folders in an output's name
# What attempt.sh is told by; nothing of it is the job's business.
OURS: Final = "D A LOCKS GRACE PY WRAP SIZE SUPERVISOR N H R M"
LOG: Final = "log.txt"
ENGINE: Final = "engine.json"  # an engine's figures
# An engine's own files lie beside its folder `work`, as they do on this machine.
BESIDE: Final = (LOG, ANSWER_FILE, ENGINE)
NOTHING: Final[Mapping[str, object]] = {}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One attempt as its host tells of it."""

    state: str  # absent starting running paused orphan lost, or ended.WHY.CODE
    usage: str = ""
    why: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state == "lost" or self.state.startswith("ended.")


def attempt_name(job_id: str, attempt: int) -> str:
    """The folder of an attempt; ProviderError for an id that names none."""
    if not JOB_ID.fullmatch(job_id) or attempt < 0:
        raise ProviderError(f"job id {job_id!r} can't name a folder", "use letters, digits, - _ .")
    return f"{job_id}.{attempt}"


def job_script(launch: Launch, holder: str = "") -> bytes:
    """The job as a script of its host: its environment, then its argv, each word quoted.

    `holder`: a program of ours in bin/ there, which the first word of argv, a Python, runs instead
    of the rest. ProviderError for what no shell can be told: NUL, a variable that is no name, an
    empty argv.
    """
    if not launch.argv or not launch.argv[0]:
        raise ProviderError("there is no program to run", "name one")
    lines = [f"unset {OURS}", "cd work || exit 125"]
    for name, value in {**selection(launch.cards), **launch.env}.items():
        if not VARIABLE.fullmatch(name):
            raise ProviderError(f"{name[:80]!r} is no variable's name", "letters, digits and _")
        lines.append(f"export {name}={shlex.quote(value)}")
    # A word with an = in front of the program would be a variable; env(1) has no such trap after
    # --.
    words = " ".join(_word(word) for word in (launch.argv[:1] if holder else launch.argv))
    if holder:
        lines.append(f'export {JOB_DIR}="$(cd .. && pwd)"')
        words += f' "${JOB_DIR}/../../bin/{holder}"'
    lines.append(f"exec {words}")
    script = ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
    if b"\0" in script:
        raise ProviderError("a NUL is in the command or its environment", "no program takes one")
    if len(script) > MAX_SCRIPT_BYTES:
        raise ProviderError(f"the command is over {MAX_SCRIPT_BYTES} bytes", "give it as a file")
    return script


def _word(word: str) -> str:
    """Quoted always, so that none is an alias, a keyword or an assignment."""
    return "'" + word.replace("'", "'\"'\"'") + "'"


def selection(cards: tuple[str, ...]) -> dict[str, str]:
    """The variables by which an engine sees these cards alone; none for a job without cards.

    UUIDs are NVIDIA's; indices are said in every maker's words, counted along the PCI bus.
    """
    if not cards:
        return {}
    listed = ",".join(cards)
    if any(not card.isdigit() for card in cards):
        return {"CUDA_VISIBLE_DEVICES": listed}
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": listed,
        "HIP_VISIBLE_DEVICES": listed,
        "ZE_AFFINITY_MASK": listed,
    }


def lock_words(locks: tuple[str, ...]) -> str:
    """Lock names as attempt.sh takes them, sorted so that two gangs can't wait for each other."""
    for name in locks:
        if not LOCK.fullmatch(name):
            raise ProviderError(f"{name[:80]!r} can't name a lock", "use its PCI address")
    return " ".join(sorted(dict.fromkeys(locks)))


def file_word(name: str) -> str:
    """Where a file of an attempt lies in its folder; ProviderError for one outside of it."""
    parts = name.split("/")
    if name in BESIDE:
        return name
    climbs = any(part in ("", ".", "..") for part in parts)
    if climbs or len(parts) > MAX_PARTS or "\0" in name or "\n" in name or len(name) > 4096:
        raise ProviderError(f"{name[:80]!r} is no file of a job", "name one in its folder")
    return f"work/{name}"


def read_states(text: str) -> dict[str, Told]:
    """What `states` printed, by attempt; a line of another shape is passed over."""
    found: dict[str, Told] = {}
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) == 4:
            found[parts[0]] = Told(state=parts[1], usage=parts[2], why=_plain(parts[3]))
    return found


def handle_of(name: str, words: list[str]) -> Handle:
    """Who supervises an attempt, as its claim says."""
    pid, ticks = (int(word) if word.isdigit() else 0 for word in (*words, "", "")[:2])
    boot = words[2][:64] if len(words) > 2 else ""
    return Handle(job_dir=name, pid=pid, start_ticks=ticks, boot_id=boot)


def outcome_of(told: Told, log_tail: str, engine: Mapping[str, object] = NOTHING) -> Outcome:
    """How an attempt ended; `engine` is its engine.json. A figure its host doesn't have is 0."""
    _, why, code = (*told.state.split("."), "", "")[:3]
    number = int(code) if code.isdigit() else -1
    figures = [int(word) if word.isdigit() else 0 for word in told.usage.split()]
    began, wall, _, peak, held = (*figures, 0, 0, 0, 0, 0)[:5]
    reason, text = _reason(why, number, told.why, log_tail)
    said = engine.get("memory")
    memory = said if isinstance(said, Mapping) else NOTHING
    return Outcome(
        exit_code=-number if why in ("signal", "oom") else number,
        started_ms=began,
        ended_ms=began + wall,
        duration_ms=wall,
        peak_memory_bytes=peak,
        tokens_generated=_count(engine, "tokens_generated"),
        prompt_tokens=_count(engine, "prompt_tokens"),
        decode_mtps=_count(engine, "decode_mtps"),
        prefill_mtps=_count(engine, "prefill_mtps"),
        engine_memory={key: _count(memory, key) for key in memory},
        reason=reason,
        text=text,
        paused_ms=min(held, wall),
    )


def _reason(why: str, code: int, said: str, log_tail: str) -> tuple[str, str]:
    """(reason, one line) of an end."""
    if why == "exit" and code == 0:
        return "ok", ""
    if why == "exit" and code == SETUP_EXIT and spoken(log_tail):
        return "setup", spoken(log_tail)
    if why in ("exit", "signal") and says_out_of_memory(log_tail):
        return "oom", last_words(log_tail)
    if why in ("exit", "signal", "oom"):
        how = f"exit code {code}" if why == "exit" else f"signal {code}"
        return why, last_words(log_tail) or how
    if why in ("busy", "setup"):
        return why, said or f"the host could not start it ({code})"
    if why == "cancelled":
        return why, ""
    return "lost", said or "its supervisor was killed, or the host was restarted"


def _count(source: Mapping[str, object], key: str) -> int:
    """A whole number of a file that its host may have written as it likes."""
    value = source.get(key)
    return value if type(value) is int and 0 <= value < 1 << 62 else 0


def _plain(text: str) -> str:
    """One line without control characters, for people."""
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_TEXT_CHARS]
