"""Codes that work once and sessions of two halves."""

import pytest

from mesh.edge.http.dashboard.sessions import (
    CODE_TTL_S,
    MAX_CODES,
    MAX_SECRET,
    MAX_SESSIONS,
    SESSION_TTL_S,
    Opened,
    Sessions,
)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(clock)


def opened(sessions: Sessions) -> Opened:
    session = sessions.exchange(sessions.make_code())
    assert session is not None
    return session


def test_a_code_opens_one_session_and_then_nothing(sessions: Sessions) -> None:
    code = sessions.make_code()
    session = sessions.exchange(code)
    assert session is not None
    assert sessions.knows(session.cookie, session.key)
    assert sessions.exchange(code) is None


def test_a_code_works_within_its_minute_alone(sessions: Sessions, clock: Clock) -> None:
    early, late = sessions.make_code(), sessions.make_code()
    clock.now_s += CODE_TTL_S - 0.001
    assert sessions.exchange(early) is not None
    clock.now_s += 0.001
    assert sessions.exchange(late) is None


def test_a_session_ends_after_its_day(sessions: Sessions, clock: Clock) -> None:
    session = opened(sessions)
    clock.now_s += SESSION_TTL_S - 0.001
    assert sessions.knows(session.cookie, session.key)
    clock.now_s += 0.001
    assert not sessions.knows(session.cookie, session.key)
    clock.now_s -= 1
    assert not sessions.knows(session.cookie, session.key), "an ended one came back"


def test_neither_half_opens_anything_alone_nor_with_anothers(sessions: Sessions) -> None:
    one, other = opened(sessions), opened(sessions)
    assert not sessions.knows(one.cookie, "")
    assert not sessions.knows("", one.key)
    assert not sessions.knows(one.cookie, other.key)
    assert not sessions.knows(one.key, one.cookie)


def test_one_code_too_many_ends_the_oldest(sessions: Sessions) -> None:
    codes = [sessions.make_code() for _ in range(MAX_CODES + 1)]
    assert [sessions.exchange(code) is not None for code in codes] == [False] + [True] * MAX_CODES


def test_one_session_too_many_ends_the_oldest(sessions: Sessions) -> None:
    made = [opened(sessions) for _ in range(MAX_SESSIONS + 1)]
    known = [sessions.knows(one.cookie, one.key) for one in made]
    assert known == [False] + [True] * MAX_SESSIONS


def test_an_ended_session_is_known_no_more_and_ending_twice_is_once(sessions: Sessions) -> None:
    one, other = opened(sessions), opened(sessions)
    sessions.end(one.cookie)
    sessions.end(one.cookie)
    assert not sessions.knows(one.cookie, one.key)
    assert sessions.knows(other.cookie, other.key)


@pytest.mark.parametrize("text", ["", "x", "\ud800", "x" * MAX_SECRET, "x" * 100_000])
def test_what_was_never_made_opens_nothing(sessions: Sessions, text: str) -> None:
    session = opened(sessions)
    assert sessions.exchange(text) is None
    assert not sessions.knows(text, text)
    assert not sessions.knows(session.cookie, text)
