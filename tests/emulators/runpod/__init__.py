"""RunPod's stand-in: REST v2, and of GraphQL what its own clients still send."""

from tests.emulators.runpod.api import RunPodEmulator

__all__ = ["RunPodEmulator"]
