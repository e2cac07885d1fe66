"""The dashboard's files, as they lie in `static`, and the headers that keep pages to themselves."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, final

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
    "Cache-Control": "no-cache",  # kept, but asked about: another version's page would not fit
    "Vary": "Accept-Encoding",
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


@final
@dataclass(frozen=True, slots=True)
class _Packed:
    """A file as it is sent: a browser that has one of this `tag` is sent nothing."""

    tag: str
    small: bytes  # gzip


@cache
def _packed() -> dict[str, _Packed]:
    return {
        name: _Packed(f'"{hashlib.sha256(body).hexdigest()[:32]}"', gzip.compress(body, mtime=0))
        for name, body in files().items()
    }


def page(request: web.Request, name: str) -> web.Response:
    """One file, compressed for whoever takes that; 404 where there is none of that name."""
    body = files().get(name)
    if body is None:
        raise web.HTTPNotFound
    packed, kind = _packed()[name], TYPES[Path(name).suffix]
    headers = {**PAGE_HEADERS, "ETag": packed.tag}
    if request.headers.get("If-None-Match") == packed.tag:
        return web.Response(status=304, headers=headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        body, headers["Content-Encoding"] = packed.small, "gzip"
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)
