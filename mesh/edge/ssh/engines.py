"""What a model's job needs on a host before it starts: the engine, its model, and our supervisor.

The launch that this machine would run is turned into the host's: the same spec with the paths that
hold there, in a private file of the attempt, and a command line that says nothing of the job.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, final

from providers.base import Launch, ProviderError
from providers.ssh.bring.engines import HostEngine, engine_on
from providers.ssh.bring.files import Runs, content_script, put
from providers.ssh.bring.models import HostModels
from providers.ssh.bring.program import engine_program
from providers.ssh.client import Unreached
from providers.ssh.launching import attempt_name
from providers.ssh.reading.facts import HostFacts

SPEC: Final = "launch.json"
LOOK_LIMIT_S: Final = 20.0


@final
class HostEngines:
    """One host's engines, by what its last whole probe found."""

    def __init__(
        self, reach: Runs, models: HostModels, name: str, facts: Callable[[], HostFacts | None]
    ) -> None:
        self._reach, self._name, self._facts = reach, name, facts
        self.models: Final = models

    async def ready(self, launch: Launch, card: Callable[[str], str]) -> tuple[Launch, str]:
        """(the launch as it is on the host, the program that holds its engine), all of it there.

        `card`: what shows an engine the card of a number. DependencyMissing, NoSpace, Unreached,
        ProviderError.
        """
        setup = _setup(launch)
        engine = self._engine(setup)
        path = await self.models.bring(Path(str(setup["model_path"])))
        numbers = setup.get("cards")
        cards = [card(str(one)) for one in numbers] if isinstance(numbers, list | tuple) else []
        there = {**setup, "model_path": path, "program": engine.program, "cards": cards}
        spec = {**launch.spec, "setup": there}
        folder = f"jobs/{attempt_name(launch.job_id, launch.attempt)}"
        await self._bring_program()
        await put(self._reach, folder, SPEC, json.dumps({"spec": spec}).encode())
        return self._started(launch, engine)

    def again(self, launch: Launch) -> tuple[Launch, str]:
        """As `ready`, for an attempt whose start was tried: all that it needs is there."""
        return self._started(launch, self._engine(_setup(launch)))

    def _started(self, launch: Launch, engine: HostEngine) -> tuple[Launch, str]:
        return replace(launch, argv=(engine.python,), spec={}, cards=()), engine_program()[0]

    def _engine(self, setup: Mapping[str, object]) -> HostEngine:
        facts = self._facts()
        if facts is None:
            raise Unreached(f"{self._name} was not looked at yet", "fleet ssh says why")
        processor = setup.get("vendor") in ("", "apple")
        return engine_on(facts, str(setup["engine"]), host=self._name, processor=processor)

    async def _bring_program(self) -> None:
        """Our supervisor under its hash, whole: looked at each time, a person may tidy up."""
        name, data = engine_program()
        wanted = hashlib.sha256(data).hexdigest()
        script = content_script(f'[ "$(sum 2>/dev/null <"$R/bin/{name}")" = {wanted} ]')
        if (await self._reach.run(script, LOOK_LIMIT_S)).status:
            await put(self._reach, "bin", name, data)


def _setup(launch: Launch) -> Mapping[str, object]:
    setup = launch.spec.get("setup")
    if not isinstance(setup, Mapping):
        raise ProviderError(f"{launch.job_id} has no engine's setup", "a bug of this program")
    return setup
