"""GGUF metadata -> what each layer remembers, by architecture.

The one reader of a model's layers: a config.json goes through its converter first.
"""

from collections.abc import Callable

from mathcore import layers_attention, layers_encoder, layers_latent, layers_recurrent
from mathcore.fields import Fields
from mathcore.hparams import Hparams, refuse_split_experts
from mathcore.model import CardError, Layer, Tensor

Reader = Callable[[Hparams], tuple[Layer, ...]]

_READERS: dict[str, Reader] = {
    **layers_attention.READERS,
    **layers_encoder.READERS,
    **layers_latent.READERS,
    **layers_recurrent.READERS,
}


def architectures() -> list[str]:
    """Every general.architecture we read, sorted."""
    return sorted(_READERS)


def layers_from(metadata: dict[str, object], tensors: tuple[Tensor, ...]) -> tuple[Layer, ...]:
    """Every layer, draft layers last; CardError names the key that stops us."""
    arch = Fields(metadata).text("general.architecture")
    reader = _READERS.get(arch)
    if reader is None:
        raise CardError("general.architecture", f"'{arch}' is not supported yet")
    hparams = Hparams(metadata, tensors)
    refuse_split_experts(hparams)
    return reader(hparams)
