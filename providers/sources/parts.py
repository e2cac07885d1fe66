"""What stands beside a language model: a projector's file, the layers trained to draft with."""

from mathcore.catalogue.models import find_row
from mathcore.formats.config import spec_from_config
from mathcore.formats.mmproj import is_projector, projector_bytes, projector_from_gguf
from mathcore.model.spec import ModelSpec, Projector, SpecError
from providers.base import UnreadableModel
from providers.sources.folder import read_card
from providers.sources.gguf import read_header
from providers.sources.typed import typed_path


def read_projector(text: str) -> tuple[int, Projector | None]:
    """A projector file's bytes, and its tower where its kind is known; UnreadableModel."""
    try:
        header = read_header(typed_path(text))
        if not is_projector(header):
            raise SpecError("general.architecture", "is not clip: this is no projector")
    except (SpecError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UnreadableModel(f"cannot read {text}: {why}", "an mmproj .gguf file") from error
    try:
        return projector_bytes(header), projector_from_gguf(header)
    except SpecError:
        return projector_bytes(header), None


def with_heads(ref: str) -> ModelSpec | None:
    """The model a name or a config.json means, with its drafting layers; None where it has none."""
    row = find_row(ref)
    try:
        if row is not None:
            return spec_from_config(row.config, row.name, draft=True)
        path = typed_path(ref)
        if path.suffix == ".json" and path.is_file():
            return spec_from_config(read_card(path), path.stem, draft=True)
    except (SpecError, OSError):
        return None
    return None
