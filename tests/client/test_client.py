"""The Python client against a real daemon, as a notebook uses it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mesh.cli.client import Daemon
from mesh.client import Answer, Fleet, FleetError, Rows
from mesh.client.errors import told
from tests.support.daemons import Asked

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "python.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture
def fleet(asked: Asked) -> Fleet:
    return Fleet(asked.fleet.home)


def test_every_block_of_the_page_runs_as_it_stands(
    asked: Asked,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FLEET_HOME", str(asked.fleet.home))
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) == 6
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "python.md", "exec"), names)
    assert (tmp_path / "speeds.svg").read_text().startswith("<svg ")
    told = capsys.readouterr().out
    assert "RTX 4090 " in told
    assert "succeeded\nhello\n" in told
    assert "no-such-model" in told


def test_a_command_is_run_waited_for_and_read(fleet: Fleet) -> None:
    job = fleet.run(command=["sh", "-c", "echo one; echo two"])
    assert job.wait(60).status == "succeeded"
    assert job.text() == "".join(job.logs()) == "one\ntwo\n"
    assert job.result() == "one\ntwo\n"
    assert [row["job_id"] for row in fleet.jobs()].count(job.id) == 1
    assert fleet.job(job.id).row()["status"] == "succeeded"
    assert job.id in str(job)
    assert job.id in job._repr_html_()


def test_a_job_that_fails_raises_where_its_result_is_asked(fleet: Fleet) -> None:
    job = fleet.run(command=["sh", "-c", "exit 7"])
    with pytest.raises(FleetError, match=f"{job.id} failed") as error:
        job.result(60)
    assert error.value.code == "JobFailed"


def test_a_wait_that_is_too_short_says_so_and_the_job_goes_on_until_it_is_cancelled(
    fleet: Fleet,
) -> None:
    job = fleet.run(command=["sleep", "600"])
    with pytest.raises(TimeoutError):
        job.wait(0)
    job.cancel()
    assert job.wait(60).status == "cancelled"


def test_a_refusal_of_the_daemon_is_an_error_in_its_own_words(fleet: Fleet) -> None:
    with pytest.raises(FleetError, match="no such field") as error:
        fleet.plan("llama-3.1-8b", contxt=1)
    assert (error.value.code, error.value.hint) == ("BadRequest", "context")
    with pytest.raises(FleetError, match="no job nobody"):
        fleet.job("nobody").status  # noqa: B018  # asks the daemon


@pytest.mark.parametrize("command", ["echo hello", b"echo", ["echo", b"hello"], [1]])
def test_a_command_that_is_no_list_of_words_is_refused_and_nothing_runs(
    fleet: Fleet, command: Any
) -> None:
    before = len(fleet.jobs())
    with pytest.raises(TypeError, match="list of words.*sh.*-c"):
        fleet.run(command=command)
    assert len(fleet.jobs()) == before


@pytest.mark.parametrize("path", ["/metrics", "/v1/telemetry"])
def test_an_answer_that_is_not_json_is_not_told_as_a_daemon_that_is_gone(
    fleet: Fleet, path: str
) -> None:
    with pytest.raises(FleetError, match=f"answers {path} with what is not JSON") as error:
        fleet.get(path)
    assert error.value.code == "NotJson"


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("/v1/jobs/x y", "NotFound", "no job x y"),
        ("/v1/jobs/x%20y", "NotFound", "no job x y"),
        ("/v1/jobs/a#b", "NotFound", "no job a#b"),
        ("/v1/jobs/é", "NotFound", "no job é"),
        ("/v1/jobs/\udc80", "NotFound", "no job"),
        ("/v1/rates/é", "MethodNotAllowed", "not offered"),
        ("/v1/jobs/a\r\nHost: b", "NotFound", "no job a"),
        ("/" + "x" * 20_000, "Http", "400"),
        ("v1/jobs", "BadPath", "no path of the HTTP API"),
        ("http://127.0.0.1/v1/jobs", "BadPath", "no path of the HTTP API"),
        ("", "BadPath", "no path of the HTTP API"),
    ],
)
def test_a_path_of_any_characters_is_asked_or_refused(
    fleet: Fleet, path: str, code: str, text: str
) -> None:
    with pytest.raises(FleetError, match=text) as error:
        fleet.get(path)
    assert error.value.code == code


def test_what_is_no_text_is_refused_wherever_it_is_said(fleet: Fleet) -> None:
    for ask in (
        lambda: fleet.job("\udc80").status,
        lambda: fleet.cost(since="\udc80"),
        lambda: fleet.run("\udc80"),
    ):
        with pytest.raises(FleetError):
            ask()


@pytest.mark.parametrize("said", [None, [], "text", {}, {"status": "running"}])
def test_an_answer_of_another_version_is_an_error_of_the_fleet(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, said: object
) -> None:
    monkeypatch.setattr(Daemon, "get", lambda *_: said)
    monkeypatch.setattr(Daemon, "post", lambda *_: said)
    monkeypatch.setattr(Daemon, "stream", lambda *_: iter([("message", said)]))
    for ask in (
        fleet.devices,
        fleet.jobs,
        lambda: fleet.run(command=["true"]),
        lambda: list(fleet.job("one").words()),
        lambda: fleet.job("one").text(),
    ):
        with pytest.raises(FleetError) as error:
            ask()
        assert error.value.code == "BadAnswer"


def test_a_token_or_an_address_that_no_request_can_carry_is_said_so(asked: Asked) -> None:
    for changed, code in (
        (replace(asked.daemon, token="é"), "Unauthorized"),
        (replace(asked.daemon, token="a\nb"), "Unauthorized"),
        (replace(asked.daemon, url="http://["), "NoDaemon"),
        (replace(asked.daemon, url="http://127.0.0.1:99999"), "NoDaemon"),
        (replace(asked.daemon, url="http://127.0.0.1:x"), "NoDaemon"),
    ):
        with pytest.raises(FleetError) as error, told():
            changed.get("/v1/status")
        assert (error.value.code, error.value.hint) == (code, "fleet down, then fleet up --detach")


def test_without_a_daemon_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="fleet up --detach") as error:
        Fleet(tmp_path).status()
    assert error.value.code == "NoDaemon"


def test_answers_are_what_the_api_says_and_their_tables_are_flat(fleet: Fleet) -> None:
    devices = fleet.devices()
    told = fleet.get("/v1/devices")["devices"]
    assert [one["device_id"] for one in devices] == [one["device_id"] for one in told]
    assert fleet.status().table()[0]["device_id"] == devices[0]["device_id"]
    assert devices.table()[0]["payload.cores"] == devices[0]["payload"]["cores"]
    cells = fleet.sweep("llama-3.1-8b", batch="1,2", context="2k,4k").table()
    assert len(cells) == 4 * len({cell["device"] for cell in cells})
    assert fleet.capacity("llama-3.1-8b").table()
    assert fleet.cost(by="device")["by"] == "device"
    assert isinstance(fleet.peers(), Rows)
    assert all("provider" in row for row in fleet.offers(max_price="1"))


def test_rows_with_different_fields_have_the_same_columns() -> None:
    rows = Rows([{"a": 1, "b": {"p50": 2}}, {"a": None, "c": [1, 2]}])
    assert rows.table() == [
        {"a": 1, "b.p50": 2, "c": None},
        {"a": None, "b.p50": None, "c": [1, 2]},
    ]
    assert repr(rows) == "a  b.p50  c\n1  2\n          1, 2"


def test_a_name_of_a_stranger_is_text_in_a_notebook_and_never_markup() -> None:
    html = Rows([{"name": "<script>alert(1)</script>", "<b>": 1}])._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<b>" not in html


def test_a_name_of_a_stranger_moves_no_cursor_of_a_terminal() -> None:
    shown = repr(Rows([{"name": "a\x1b[2Jb\x07\u202ec\nd"}]))
    assert shown == "name\na [2Jb c d"


def test_a_field_that_is_none_is_not_asked(fleet: Fleet) -> None:
    assert fleet.cost("day", since=None).keys() == fleet.cost("day").keys()


def test_a_long_table_shows_its_first_rows_and_how_many_more_there_are() -> None:
    rows = Rows([{f"c{n}": i for n in range(20)} for i in range(60)])
    assert repr(rows).splitlines()[-1] == "(10 more rows, 8 more columns: .table())"
    assert "(10 more rows, 8 more columns: .table())" in rows._repr_html_()
    assert repr(Answer({"rows": []}, of="rows")) == "nothing"
