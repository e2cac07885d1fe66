"""The dashboard's files, as they lie in `static`, and the headers that keep pages to themselves."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from aiohttp import web

from mesh.edge.http.guard import HEADERS

STATIC: Final = Path(__file__).parent / "static"
FRONT: Final = "index.html"
TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
# No script, style or request but of this origin; no text ever becomes markup (trusted types).
POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
PAGE_HEADERS: Final = {
    **HEADERS,
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


@cache
def files() -> dict[str, bytes]:
    """Every file a browser may have, by its path below `static`: no other path names one."""
    found = (path for path in STATIC.rglob("*") if path.suffix in TYPES)
    return {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in found}


def page(name: str) -> web.Response:
    """One file; 404 where there is none of that name."""
    body = files().get(name)
    if body is None:
        raise web.HTTPNotFound
    kind = TYPES[Path(name).suffix]
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=PAGE_HEADERS)
