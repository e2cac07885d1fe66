"""What makes a rented machine ready runs there once, whoever asks again, and its end decides."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from mesh.api.errors import RequestError
from mesh.api.rentals.asked import parse_rent
from mesh.edge.clouds.setups import Setups
from mesh.edge.ssh.hosts import Known
from mesh.state.rentals.requests import MAX_SETUP
from providers.base import Launch, Outcome, ProviderError
from providers.ssh.client import Unreached

WELL, BADLY = ("ok", 0, ""), ("exit", 3, "no\x1b[31m wheel")


def outcome(reason: str, code: int, text: str) -> Outcome:
    numbers = dict.fromkeys(
        ("started_ms", "ended_ms", "duration_ms", "peak_memory_bytes", "tokens_generated",
         "prompt_tokens", "decode_mtps", "prefill_mtps"), 0,
    )  # fmt: skip
    return Outcome(reason=reason, exit_code=code, text=text, engine_memory={}, **numbers)


class Host:
    """A test double of a host's attempts: it starts what it has not, and tells what it is told."""

    def __init__(self) -> None:
        self.name = "lambda-1"
        self.attempts = self
        self.launches: dict[tuple[str, int], tuple[str, ...]] = {}
        self.ends: tuple[str, int, str] | None = None
        self.error: ProviderError | None = None
        self.asked = 0

    @property
    def known(self) -> Known:
        return cast(Known, SimpleNamespace(name=self.name, attempts=self))

    async def start(self, launch: Launch) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.launches.setdefault((launch.job_id, launch.attempt), launch.argv)

    async def poll(self, job_id: str, attempt: int) -> Outcome | None:
        assert (job_id, attempt) in self.launches
        return None if self.ends is None else outcome(*self.ends)


async def test_it_begins_once_and_the_machine_waits_for_its_end() -> None:
    host, setups = Host(), Setups()
    for _ in range(3):
        assert await setups.ready(host.known, "r1", "pip install vllm") == "runs"
    assert host.launches == {("setup-r1", 1): ("sh", "-c", "pip install vllm")}
    host.ends = WELL
    assert await setups.ready(host.known, "r1", "pip install vllm") == "ended"
    asked = host.asked
    assert await setups.ready(host.known, "r1", "pip install vllm") == "done"
    assert host.asked == asked, "the host is not asked again"
    again = Setups()  # the daemon was killed meanwhile
    assert await again.ready(host.known, "r1", "pip install vllm") == "ended"
    assert len(host.launches) == 1


async def test_a_bad_end_is_told_once_in_the_daemons_log_without_moving_its_cursor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    host, setups = Host(), Setups()
    host.ends = BADLY
    for _ in range(2):
        assert await setups.ready(host.known, "r1", "make") == "failed"
    assert capsys.readouterr().err == "fleet: the setup of lambda-1 failed: no[31m wheel\n"
    setups.forget("r1")
    host.ends = WELL
    assert await setups.ready(host.known, "r1", "make") == "ended"


@pytest.mark.parametrize(
    ("error", "found"),
    [(Unreached("away", "wait"), "runs"), (ProviderError("no space left"), "failed")],
)
async def test_a_machine_that_is_away_is_asked_again_and_one_that_can_not_is_given_up(
    error: ProviderError, found: str
) -> None:
    host, setups = Host(), Setups()
    host.error = error
    assert await setups.ready(host.known, "r1", "make") == found


@pytest.mark.parametrize("text", ["", "  \n", "a\0b", "x" * (MAX_SETUP + 1)])
def test_what_is_no_command_is_refused_before_a_machine_is_rented(text: str) -> None:
    with pytest.raises(RequestError, match="setup"):
        parse_rent({"life": "1h", "setup": text})


@pytest.mark.parametrize("text", ["make", "a\nb", "x" * MAX_SETUP])
def test_a_command_is_kept_as_it_was_typed(text: str) -> None:
    given: dict[str, Any] = {"life": "1h", "setup": text}
    assert parse_rent(given).setup == text
