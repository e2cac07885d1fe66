"""What a deliberately broken variant is: patches of the live code, for as long as it is played."""

import contextlib

Broken = contextlib.AbstractContextManager[object]


def together(*many: Broken) -> Broken:
    """Several patches as one."""
    stack = contextlib.ExitStack()
    for one in many:
        stack.enter_context(one)
    return stack
