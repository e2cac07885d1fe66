"""Layers of architectures that keep more than plain K and V."""

from collections.abc import Callable

from mathcore.hparams import Hparams
from mathcore.model import Layer

READERS: dict[str, Callable[[Hparams], tuple[Layer, ...]]] = {}
