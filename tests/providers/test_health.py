"""Whether a card can take work, judged from what its source said: the rows of users' troubles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.telemetry.health import (
    CLEAR_MS,
    SLOW_MS,
    STATES,
    Course,
    Health,
    judged,
    mismatch,
    smi_fault,
)
from providers.telemetry.sample import (
    BRAKE,
    HOT,
    NVIDIA,
    POWER_CAP,
    Fault,
    Look,
    Process,
    Reading,
    foreign,
    foreign_bytes,
    foreign_text,
)

GIB = 1 << 30
# Stand-in for nvidia-smi after an update without a restart, shape re-typed: exit code 18.
SMI_MISMATCH = (
    "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.144\n"
)
# Stand-in for nvidia-smi beside a card that fell off the bus, shape re-typed.
SMI_LOST = "Unable to determine the device handle for GPU0000:41:00.0: Unknown Error\n"


def look(*keys: str, **slowed: tuple[str, ...]) -> Look:
    found = [Reading(key=key, slowed=slowed.get(key, ())) for key in keys]
    return Look(source=NVIDIA, found=tuple(found))


def after(*looks: tuple[Look, int]) -> dict[str, Health]:
    courses: dict[str, Course] = {}
    for one, now_ms in looks:
        courses = judged(courses, one, now_ms)
    return {key: course.health for key, course in courses.items()}


def test_of_four_cards_the_one_that_is_gone_is_lost_and_the_others_are_well() -> None:
    healths = after((look("a", "b", "c", "d"), 1_000), (look("a", "b", "d"), 2_000))
    assert {key for key, one in healths.items() if one.state == "ok"} == {"a", "b", "d"}
    assert (healths["c"].state, healths["c"].since_ms) == ("lost", 2_000)
    assert healths["c"].refused_by == "Unreachable"


def test_a_card_that_comes_back_is_well_again() -> None:
    healths = after((look("a"), 1), (look(), 2), (look(), 3), (look("a"), 4))
    assert healths["a"] == Health(state="ok", since_ms=4)


def test_a_card_whose_driver_says_it_is_lost_is_lost_with_the_driver_s_words() -> None:
    broken = Look(source=NVIDIA, broken={"a": Fault(kind="lost", text="GPU is lost")})
    assert after((look("a"), 1), (broken, 2), (broken, 9))["a"] == Health(
        state="lost", text="GPU is lost", since_ms=2
    )


def test_a_mismatch_is_told_of_every_card_that_was_there_and_is_not_no_gpu() -> None:
    no_answer = Look(source=NVIDIA, fault=mismatch("550.144"))
    healths = after((look("a", "b"), 1), (no_answer, 2))
    assert [one.state for one in healths.values()] == ["driver_mismatch"] * 2
    assert "reboot" in healths["a"].text
    assert "550.144" in healths["a"].text
    assert healths["a"].refused_by == "DependencyMissing"


def test_a_machine_without_the_driver_has_no_ill_cards() -> None:
    none = Look(source=NVIDIA, fault=Fault(kind="lost", text="Shared Library Not Found"))
    assert after((none, 1)) == {}


def test_heat_degrades_a_card_once_it_lasts_and_for_a_while_longer() -> None:
    hot, cool = look("a", a=(HOT,)), look("a")
    assert after((hot, 0), (hot, SLOW_MS - 1))["a"].state == "ok"
    story = [(hot, 0), (hot, SLOW_MS)]
    degraded = after(*story)["a"]
    assert (degraded.state, degraded.text) == ("degraded", "slowed by heat")
    assert degraded.refused_by == ""
    story += [(cool, SLOW_MS + 1)]
    assert after(*story)["a"].state == "degraded"
    assert after(*story, (cool, SLOW_MS + 1 + CLEAR_MS))["a"].state == "ok"


def test_a_card_that_brakes_for_moments_is_well() -> None:
    story = [(look("a", a=(HOT,) if second % 2 else ()), 1_000 * second) for second in range(60)]
    assert after(*story)["a"].state == "ok"


def test_a_card_at_its_power_limit_is_busy_not_ill_and_one_that_protects_itself_is() -> None:
    assert (
        after((look("a", a=(POWER_CAP,)), 0), (look("a", a=(POWER_CAP,)), 60_000))["a"].state
        == "ok"
    )
    braked = look("a", a=(BRAKE, POWER_CAP))
    assert after((braked, 0), (braked, SLOW_MS))["a"].text == "slowed by its power protection"


@pytest.mark.parametrize(
    ("code", "said", "state"),
    [
        (18, SMI_MISMATCH, "driver_mismatch"),
        (18, "", "driver_mismatch"),
        (1, SMI_MISMATCH, "driver_mismatch"),
        (0, f"{SMI_LOST}0, NVIDIA L4, 1 MiB", "lost"),
        (6, "No devices were found", None),
        (127, "nvidia-smi: command not found", None),
        (0, "0, NVIDIA GB10, [N/A], [N/A]", None),
    ],
)
def test_what_nvidia_smi_says_of_its_driver_is_understood(
    code: int, said: str, state: str | None
) -> None:
    fault = smi_fault(code, said)
    assert (fault.kind if fault else None) == state


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["found", "broken", "hot", "gone"])))
)
def test_whatever_happens_a_card_that_was_seen_has_a_state_and_it_never_begins_later(
    story: list[tuple[str, str]],
) -> None:
    courses: dict[str, Course] = {}
    seen: set[str] = set()
    for now_ms, (key, what) in enumerate(story):
        reading = Reading(key=key, slowed=(HOT,) if what == "hot" else ())
        fault = {key: Fault(kind="lost", text="x")} if what == "broken" else {}
        found = (reading,) if what in ("found", "hot") else ()
        courses = judged(courses, Look(source=NVIDIA, found=found, broken=fault), now_ms)
        seen |= {key} if what != "gone" else set()
        assert set(courses) == seen
        for course in courses.values():
            assert course.health.state in STATES
            assert course.health.since_ms <= now_ms


def test_foreign_memory_is_named_by_program_pid_and_size() -> None:
    ours = Process(pid=7, program="python", memory_bytes=3 * GIB, job_id="j-1", attempt=1)
    theirs = Process(pid=4242, program="ollama", memory_bytes=round(9.1 * GIB))
    held = Reading(key="a", memory_bytes=24 * GIB, free_bytes=11 * GIB, processes=(ours, theirs))
    assert foreign(held) == (theirs,)
    assert foreign_bytes(held) == theirs.memory_bytes
    assert foreign_text(theirs) == "ForeignMemory: ollama pid 4242 holds 9.1 GiB"


def test_what_the_driver_withholds_is_unknown_and_never_0() -> None:
    silent = Reading(key="a")
    assert silent.used_bytes is None
    assert foreign_bytes(silent) is None
    hidden = Process(pid=4242, program="")
    assert foreign_text(hidden) == "ForeignMemory: a process pid 4242 holds an unknown amount"
    assert foreign_bytes(Reading(key="a", processes=(hidden,))) is None
    assert foreign_bytes(Reading(key="a", processes=())) == 0
