"""Who has what, asked of every other member at once: who takes too long is named, and waited for
no longer than was said."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from mesh.edge.models.around import ASK_AT_ONCE, Around
from mesh.state.peer_id import peer_id
from mesh.state.state import State
from providers.models.identity import ModelFile, ModelIdentity

IDENTITY = ModelIdentity(
    name="tiny",
    size_bytes=9,
    quick_hash="0" * 32,
    files=(ModelFile(name="tiny.gguf", size_bytes=9),),
)
WITHIN_S = 0.2


class Mesh:
    """A test double: so many members that say nothing, before one that answers."""

    def __init__(self, silent: int) -> None:
        self.keys = [bytes([number]) * 32 for number in range(silent + 1)]
        self.trust, self.links = self, SimpleNamespace(get=lambda key: None)

    def placed(self) -> list[tuple[bytes, None]]:
        return [(key, None) for key in self.keys]

    async def call(self, key: bytes, method: str, path: str, body: Mapping[str, object]) -> Any:
        if key != self.keys[-1]:
            await asyncio.sleep(1000)
        return {"models": [IDENTITY.to_json()]}


async def test_whoever_is_silent_is_named_in_time_and_hides_nobody_elses_models() -> None:
    double: Any = Mesh(silent=ASK_AT_ONCE - 1)
    around = Around(double, State, lambda author: 0)
    begun = asyncio.get_running_loop().time()
    copies, silent = await around.who_has("", WITHIN_S)
    assert asyncio.get_running_loop().time() - begun < 20 * WITHIN_S
    assert [one.member.key for one in copies] == [double.keys[-1]]
    names = {peer_id(key.hex())[:7] for key in double.keys[:-1]}
    assert {one.text for one in silent} == {f"{name} does not answer" for name in names}
