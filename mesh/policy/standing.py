"""What a peer's role lets it do about jobs, as of now; a peer that is alone may do everything."""

from mesh.state.members import RUNNER, Members, allowed, needed_role


def may_use(members: Members, home: str, owner: str) -> bool:
    """Whether a home's jobs may begin on an owner's devices: its own always, others' as runner."""
    return home == owner or allowed(members.role(home), RUNNER)


def is_heard(members: Members, author: str) -> bool:
    """Whether what a peer says of jobs counts: else it would say the same again, for ever."""
    return allowed(members.role(author), needed_role("job"))
