"""The blocks of Anthropic's Messages: thoughts, text and calls, each growing piece by piece."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mesh.serving.events import said_in
from mesh.serving.family import Body

Kind = Literal["thinking", "text", "tool_use"]


@dataclass(slots=True)
class Block:
    """One block of the answer, and how much of it is written."""

    kind: Kind
    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    written: int = 0
    opened: bool = False
    closed: bool = False

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def over(self) -> bool:
        """Whether nothing can follow once another block has begun."""
        if self.kind != "tool_use":
            return True
        # Reading all of it is dear: only where it may be whole.
        return bool(self.pieces) and self.pieces[-1].rstrip().endswith("}") and self._is_object

    @property
    def _is_object(self) -> bool:
        return isinstance(said_in(self.text), dict)

    def empty(self) -> Body:
        """As content_block_start has it. An engine signs no thoughts."""
        if self.kind == "tool_use":
            return {"type": "tool_use", "id": self.id, "name": self.name, "input": {}}
        signed = {"signature": ""} if self.kind == "thinking" else {}
        return {"type": self.kind, self.kind: "", **signed}

    def whole(self) -> Body:
        """As a Message has it."""
        full = self.empty()
        if self.kind == "tool_use":
            full["input"] = tool_input(self.text)
        else:
            full[self.kind] = self.text
        return full

    def delta(self, piece: str) -> Body:
        """As content_block_delta has it."""
        if self.kind == "tool_use":
            return {"type": "input_json_delta", "partial_json": piece}
        return {"type": f"{self.kind}_delta", self.kind: piece}


def tool_input(arguments: str) -> Body:
    """A call's arguments as the object that clients read.

    A model may write what is none, or be cut off within it. The text is then kept under one
    name: an empty object would look like a call without arguments, and be carried out.
    """
    if not arguments.strip():
        return {}
    found = said_in(arguments)
    return found if isinstance(found, dict) else {"arguments": arguments}
