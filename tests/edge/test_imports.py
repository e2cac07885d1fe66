"""A file brings in what its authors may write, whoever hands it over and in whatever order."""

from pathlib import Path

from mesh.edge.imports import import_at_rest
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import current_state
from tests.support.homes import Home, let_in


async def test_a_file_lets_in_whom_it_grants_and_nobody_else(tmp_path: Path) -> None:
    ana, ben, eve, cid = (Home(tmp_path, name) for name in ("ana", "ben", "eve", "cid"))
    await let_in(ana, ben)
    for one in (ben, eve):
        for number in range(700):
            await one.emit("note_added", "", {"text": str(number)})
        one.ledger.export(tmp_path / "part.jsonl")
        with (tmp_path / "all.jsonl").open("ab") as file:
            file.write((tmp_path / "part.jsonl").read_bytes())
    ana.ledger.export(tmp_path / "part.jsonl")
    with (tmp_path / "all.jsonl").open("ab") as file:
        file.write((tmp_path / "part.jsonl").read_bytes())
    cid.taken(ana)
    for one in (ana, ben, eve, cid):
        one.ledger.close()
    with Ledger.open(cid.home) as ledger:
        report = import_at_rest(ledger, tmp_path / "all.jsonl")
        assert (report.admitted, report.rejected_count) == (700, 700)
        assert "is no member" in report.rejected[0].text
        assert current_state(ledger).note_count == 700
