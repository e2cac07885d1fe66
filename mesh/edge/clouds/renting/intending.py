"""An intent made durable, with its machine's keys; nothing of either stays where that fails."""

from __future__ import annotations

from mesh.edge.clouds.renting.budgets import Budgets
from mesh.edge.clouds.renting.ports import Keys, MachineKeys
from mesh.edge.clouds.renting.writing import Writing
from mesh.policy.rentals.values import Say


async def say_intent(says: Say, keys: Keys, write: Writing, budgets: Budgets) -> MachineKeys:
    """Durable when it returns. What raises intended nothing: no private key is left of it, and what
    was held for it is free again."""
    rental_id = says.rental_id
    try:
        made = await keys.make(rental_id)
        fields = {**says.fields, "host_key": made.host_public_key}
        await write.say(Say(says.kind, rental_id, fields))
    except Exception:
        await budgets.let_go(rental_id)
        keys.forget({rental_id})
        raise
    return made
