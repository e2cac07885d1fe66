"""What is served, below the jobs of `fleet ps`."""

import pytest

from mesh.api.errors import RequestError
from mesh.cli.exits import UNREACHABLE, Stop
from mesh.cli.jobs.served import rows_of, show_served
from tests.cli.fixed_fleet import SERVICES, kept, replica


class Answers:
    """A daemon that answers so, or fails so."""

    def __init__(self, said: object) -> None:
        self.said = said

    def get(self, path: str) -> object:
        assert path == "/v1/services"
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


def shown(said: object, capsys: pytest.CaptureFixture[str]) -> str:
    show_served(None if said is None else Answers(said), {"dev-rig": "rig"})
    return capsys.readouterr().out


def test_a_model_s_servers_are_one_row() -> None:
    found = {"replicas": [replica(1, "a", busy=1), replica(2, "a"), replica(3, "b", ready=False)]}
    (row,) = rows_of(found, {"a": "rig"})
    assert (row.ready, row.busy, row.total("waiting")) == ("2/3", "7/12", 6)
    assert list(row.devices) == ["rig", "b"]


def test_a_model_that_is_kept_up_has_a_row_without_servers() -> None:
    (row,) = rows_of({"services": [kept("tiny.gguf", 0, 2, 90_000)]}, {})
    assert (row.name, row.ready, row.busy, row.kept) == ("tiny.gguf", "0/0", "", "0-2, idle 1m")


def test_a_server_whose_owner_says_nothing_counts_as_not_ready() -> None:
    found = {"replicas": [{"job_id": "j", "model": "m", "device_id": "", "owner": "ab"}]}
    (row,) = rows_of(found, {})
    assert (row.ready, row.busy, list(row.devices)) == ("0/1", "", [])


def test_the_table_says_where_to_ask(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(SERVICES, capsys).splitlines()
    assert lines[:2] == ["", "models at http://127.0.0.1:7435/v1"]
    assert len(lines) == 5


@pytest.mark.parametrize(
    "said",
    [
        None,
        {"services": [], "replicas": [], "url": ""},
        RequestError("NoRoute", "no route", "", 404),
        Stop(UNREACHABLE, "gone"),
    ],
)
def test_nothing_is_shown_where_nothing_is_served_or_nobody_says(
    said: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(said, capsys) == ""
