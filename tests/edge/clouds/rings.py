"""Keyrings for tests, through the `keyring` package's own way in."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend


class MemoryRing(KeyringBackend):
    """Keeps in memory. `broken`: methods that raise what quotes the secret, as no keyring should.
    `forgets`: takes everything and keeps nothing."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.broken: dict[str, Exception] = {}
        self.forgets = False

    def _may(self, what: str) -> None:
        if what in self.broken:
            raise self.broken[what]

    def get_password(self, service: str, username: str) -> str | None:
        self._may("get")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._may("set")
        if not self.forgets:
            self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._may("delete")
        del self.kept[service, username]


class FileRing(KeyringBackend):
    """Keeps in the file that TEST_RING names, for processes of their own."""

    priority = 1  # type: ignore[assignment]

    @property
    def path(self) -> Path:
        return Path(os.environ["TEST_RING"])

    def _all(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.path.read_text()) if self.path.exists() else {}
        return found

    def get_password(self, service: str, username: str) -> str | None:
        return self._all().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self.path.write_text(json.dumps(self._all() | {f"{service}/{username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        kept = self._all()
        del kept[f"{service}/{username}"]
        self.path.write_text(json.dumps(kept))
