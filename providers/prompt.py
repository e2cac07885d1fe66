"""How many tokens a prompt has: counted with the model's own vocabulary, else estimated."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

# A vocabulary of 256k entries loads in a second; a loaded laptop may take several.
COUNT_LIMIT_S: Final = 30.0
# English has about 4 bytes to a token and code 3; fewer bytes make more tokens, the safe side.
BYTES_PER_TOKEN: Final = 3
PACKAGE_PARENT: Final = Path(__file__).parent.parent


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLength:
    """Tokens, and how that is known."""

    tokens: int
    basis: str


def prompt_length(model_path: str, prompt: str) -> PromptLength:
    """The prompt's tokens, the model's own first token included. Takes a moment: for a thread."""
    data = prompt.encode()
    counted = _counted(model_path, data)
    if counted is not None:
        return PromptLength(tokens=counted, basis="counted with the model's vocabulary")
    tokens = len(data) // BYTES_PER_TOKEN + 1
    return PromptLength(tokens=tokens, basis=f"estimated, {BYTES_PER_TOKEN} bytes each")


def _counted(model_path: str, data: bytes) -> int | None:
    """What the engine's library says; None where it is missing, or does not like the file."""
    argv = [sys.executable, "-m", "providers.engine_child.tokens", model_path]
    try:
        done = subprocess.run(
            argv, input=data, capture_output=True, timeout=COUNT_LIMIT_S, cwd=PACKAGE_PARENT
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = done.stdout.strip()
    return int(said) if done.returncode == 0 and said.isdigit() else None
