"""A whole listing: every page, of machines that stayed the same meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from providers.rental.contract import Page, Row, Unread

# Of 25 machines each: an account with more has other trouble.
MAX_PAGES: Final = 400
MAX_ROWS: Final = 10_000

AskPage = Callable[[str], Awaitable[Page | Unread]]


async def read_all(ask: AskPage) -> tuple[Row, ...] | Unread:
    """All rows; Unread where a page fails, where the provider counts otherwise than we do, or where
    rows moved from page to page meanwhile: that proves nothing."""
    rows: list[Row] = []
    totals: set[int] = set()
    after, asked = "", set[str]()
    for _ in range(MAX_PAGES):
        page = await ask(after)
        if isinstance(page, Unread):
            return page
        rows += page.rows
        if len(rows) > MAX_ROWS:
            return Unread(why="malformed", text=f"more than {MAX_ROWS} machines")
        if page.total is not None:
            totals.add(page.total)
        if not page.after:
            return _whole(rows, totals)
        if page.after in asked:
            return Unread(why="malformed", text="its pages go in a circle")
        after = page.after
        asked.add(after)
    return Unread(why="malformed", text=f"more than {MAX_PAGES} pages")


def _whole(rows: list[Row], totals: set[int]) -> tuple[Row, ...] | Unread:
    ids = {row.instance_id for row in rows}
    if len(ids) < len(rows) or totals - {len(rows)}:
        return Unread(why="changed", text="the list changed while it was read")
    return tuple(rows)
