"""`fleet up --detach` waits for as long as a start says that it moves, and shows how far it is."""

from typing import Any

import pytest

from mesh.api.errors import RequestError
from mesh.cli.exits import CANNOT, code_of
from mesh.cli.machines import daemon as module


class Asked:
    """A daemon that answers with one text after the other."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)

    def get(self, path: str) -> Any:
        text = self.texts.pop(0)
        if not text:
            return {"daemon": True}
        raise RequestError("Starting", text, "again in a moment", 503)


def test_progress_is_shown_once_and_a_start_that_stands_still_does_not_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "SAY_EVERY_S", 0.0)
    progress, asked = module._Progress(), Asked("starting: a", "starting: a", "starting: b", "")
    moved = [progress.moves(asked) for _ in range(4)]  # type: ignore[arg-type]
    assert moved == [True, False, True, False]
    assert capsys.readouterr().err == "fleet: starting: a\nfleet: starting: b\n"


def test_it_is_asked_every_other_second_at_most() -> None:
    progress, asked = module._Progress(), Asked("starting: a", "starting: b")
    assert progress.moves(asked)  # type: ignore[arg-type]
    assert not progress.moves(asked)  # type: ignore[arg-type]
    assert len(asked.texts) == 1


def test_not_ready_yet_ends_a_command_with_what_cannot_be_done_now() -> None:
    assert code_of(RequestError("Starting", "starting: a", "", 503)) == CANNOT
