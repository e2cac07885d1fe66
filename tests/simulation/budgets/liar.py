"""A member that writes whatever it likes: gifts of what it has not, takes of what nobody gave."""

from typing import TYPE_CHECKING

from mesh.state.budgets.budget import named
from mesh.state.facts.budget import BudgetGiven, BudgetTaken
from tests.simulation.budgets.peer import Peer

if TYPE_CHECKING:
    from tests.simulation.budgets.world import World

NAME = "liar"
MOST_CENTS = 500
CENT = 10_000_000


def lies_in(seed: int) -> bool:
    """Every seventh schedule has one."""
    return seed % 7 == 3


def lie(world: "World", liar: Peer) -> None:
    """One false word, on disk at once."""
    dice = world.dice
    budget = dice.choice(world.budgets)
    first, last = world.range(budget)
    other = dice.choice([one for one in world.peers if one != NAME])
    nusd = dice.randrange(1, MOST_CENTS) * CENT
    if dice.random() < 0.6:
        liar.say(
            BudgetGiven(
                give_id=world.id(), budget=named(budget), to=other, amount_nusd=nusd, first=first,
                last=last,
            )
        )  # fmt: skip
    else:
        gifts = [*liar.book.word(other).gives, world.id()]
        liar.say(
            BudgetTaken(
                give_id=dice.choice(gifts), giver=other, budget=named(budget), amount_nusd=nusd,
                first=first, last=last,
            )
        )  # fmt: skip
    liar.fsync()
