"""GGUF metadata -> what each layer remembers, by architecture.

The one reader of a model's layers: a config.json goes through its converter first.
"""

from collections.abc import Callable

from mathcore.architectures import attention, encoder, latent, recurrent
from mathcore.architectures.hparams import Hparams, refuse_split_experts
from mathcore.model.fields import Fields
from mathcore.model.spec import Layer, SpecError, Tensor

Reader = Callable[[Hparams], tuple[Layer, ...]]

_READERS: dict[str, Reader] = {
    **attention.READERS,
    **encoder.READERS,
    **latent.READERS,
    **recurrent.READERS,
}


def architectures() -> list[str]:
    """Every general.architecture we read, sorted."""
    return sorted(_READERS)


def layers_from(metadata: dict[str, object], tensors: tuple[Tensor, ...]) -> tuple[Layer, ...]:
    """Every layer, draft layers last; SpecError names the key that stops us."""
    arch = Fields(metadata).text("general.architecture")
    reader = _READERS.get(arch)
    if reader is None:
        raise SpecError("general.architecture", f"'{arch}' is not supported yet")
    hparams = Hparams(metadata, tensors)
    refuse_split_experts(hparams)
    return reader(hparams)
