"""What the fleet is told of an attempt that ended: numbers and kinds, never its words."""

from dataclasses import replace
from typing import Any

import pytest

from mesh.edge.jobs.outcomes import ended_fact
from mesh.state.jobs import JobView
from providers.base import Outcome
from tests.state.job_story import ANA

JOB = JobView(job_id="j1", kind="command", home=ANA, request={}, submitted_ms=0)
WORDS = "exit code 7: curl: token sk-12345 refused for /home/ana"


def outcome(reason: str, code: int, **memory: Any) -> Outcome:
    numbers: dict[str, Any] = dict.fromkeys(
        ("started_ms", "ended_ms", "duration_ms", "peak_memory_bytes", "tokens_generated"), 5
    ) | dict.fromkeys(("prompt_tokens", "decode_mtps", "prefill_mtps"), 5)
    return Outcome(exit_code=code, engine_memory=memory, reason=reason, text=WORDS, **numbers)


@pytest.mark.parametrize(
    ("reason", "code", "says"),
    [
        ("exit", 7, "exit code 7"),
        ("signal", -9, "killed by SIGKILL"),
        ("signal", -999, "exit code -999"),
        ("oom", -9, "out of memory"),
        ("setup", 78, "it cannot run here"),
        ("lost", -1, "its supervisor vanished before it could write a result"),
        (WORDS, 3, "exit code 3"),
    ],
)
def test_a_failure_says_its_kind_and_quotes_nothing(reason: str, code: int, says: str) -> None:
    event_type, fact = ended_fact(JOB, outcome(reason, code), [7], 1)
    assert (event_type, fact["text"]) == ("job_failed", says)
    assert "sk-12345" not in str({**fact, "reason": ""})


def test_a_success_says_the_engines_numbers_and_nothing_else_of_its_file() -> None:
    memory = {"weights_bytes": 7, "kv_bytes": "sk-12345", "sk-12345": 5}
    event_type, fact = ended_fact(JOB, outcome("ok", 0, **memory), [7], 1)
    assert (event_type, fact["engine_memory"]) == ("job_completed", {"weights_bytes": 7})
    assert WORDS not in str(fact)


def test_an_attempt_that_was_ended_gave_way_unless_somebody_wanted_its_end() -> None:
    ended = outcome("cancelled", -15)
    event_type, fact = ended_fact(JOB, ended, [7], 1)
    assert (event_type, fact["reason"]) == ("job_failed", "interrupted")
    assert ended_fact(JOB, ended, [7], 1, superfluous=True)[0] == "job_cancelled"
    assert ended_fact(replace(JOB, cancel_asked=True), ended, [7], 1)[0] == "job_cancelled"
