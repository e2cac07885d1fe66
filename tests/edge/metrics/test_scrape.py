"""`GET /metrics` of a real daemon, and the dashboard that is made of it."""

import json
import re
from pathlib import Path

from mesh.api.metrics.text import CONTENT_TYPE
from tests.support.daemons import Asked

DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana" / "fleet-ledger.json"
LINE = re.compile(r'[a-z_]+(?:{[a-z_]+="[^"\\\n]*"(?:,[a-z_]+="[^"\\\n]*")*})? -?[0-9.e+-]+')
HEAD = re.compile(r"# (?:HELP [a-z_]+ \S.*|TYPE [a-z_]+ (?:gauge|counter))")


def test_a_scraper_with_the_token_gets_the_text_format(asked: Asked) -> None:
    found = asked.ask("GET", "/metrics")
    assert (found.status, found.kind) == (200, CONTENT_TYPE)
    text = found.body.decode()
    wrong = [line for line in text.splitlines() if not (LINE.fullmatch(line) or HEAD.match(line))]
    assert wrong == []
    assert re.search(r"^fleet_device_up{.*} 1$", text, re.M)


def test_a_scraper_without_the_token_gets_nothing(asked: Asked) -> None:
    assert asked.ask("GET", "/metrics", headers={}).status == 401


def test_counters_are_called_total_and_nothing_else_is(asked: Asked) -> None:
    text = asked.ask("GET", "/metrics").body.decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    assert {name for name in kinds if name.endswith("_total")} == {
        name for name, kind in kinds.items() if kind == "counter"
    }


def test_every_metric_the_dashboard_names_is_told(asked: Asked) -> None:
    text = asked.ask("GET", "/metrics").body.decode()
    told = set(re.findall(r"^# TYPE (\S+) ", text, re.M))
    board = json.loads(DASHBOARD.read_text())
    asks = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    named = {name for ask in asks for name in re.findall(r"\bfleet_\w+", ask)}
    assert named - told == set()
    assert told - named <= {"fleet_device_reading_age_seconds"}
