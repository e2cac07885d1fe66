"""What an account's actor needs of whoever holds money before a machine is asked for."""

from __future__ import annotations

from typing import Protocol, final

from mesh.state.rentals.requests import Request


class Budgets(Protocol):
    """Who has the money that rentals cost."""

    async def hold(self, request: Request, rental_id: str, most_nusd: int) -> str:
        """Why no money is had for a machine, in words; "" where it is held durably, or none has to
        be."""

    async def let_go(self, rental_id: str) -> None:
        """It is not intended after all: what is held for it is free again."""

    def begin(self, rental_id: str) -> bool:
        """Whether the provider may be asked for it now; said once."""


@final
class NoBudgets:
    """Nothing is budgeted: only the peer's own caps bind."""

    async def hold(self, request: Request, rental_id: str, most_nusd: int) -> str:
        """Nothing counts it."""
        return ""

    async def let_go(self, rental_id: str) -> None:
        """Nothing is held."""

    def begin(self, rental_id: str) -> bool:
        """It may."""
        return True
