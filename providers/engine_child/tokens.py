"""Count a prompt's tokens with a model's own vocabulary: `python -m … MODEL < PROMPT` prints it.

The library is the one inside the xllamacpp wheel, called through its public C functions: the
wheel's Python has no way to load a vocabulary alone, and a whole model takes minutes where its
vocabulary takes a blink. A program of its own, for the library aborts on a file it does not like.
"""

import ctypes
import importlib.util
import sys
from pathlib import Path
from typing import Final


class ModelParams(ctypes.Structure):
    """struct llama_model_params of include/llama.h, as in the wheel that pyproject.toml pins."""

    _fields_ = (
        ("devices", ctypes.c_void_p),
        ("overrides", ctypes.c_void_p),
        ("n_gpu_layers", ctypes.c_int32),
        ("split_mode", ctypes.c_int),
        ("load_mode", ctypes.c_int),
        ("lazy_mode", ctypes.c_int),
        ("main_gpu", ctypes.c_int32),
        ("tensor_split", ctypes.c_void_p),
        ("progress", ctypes.c_void_p),
        ("progress_data", ctypes.c_void_p),
        ("kv_overrides", ctypes.c_void_p),
        ("vocab_only", ctypes.c_bool),
        ("check_tensors", ctypes.c_bool),
        ("use_extra_bufts", ctypes.c_bool),
        ("no_host", ctypes.c_bool),
        ("no_alloc", ctypes.c_bool),
        ("load_mtp", ctypes.c_bool),
        ("room", ctypes.c_uint8 * 256),  # another wheel's struct may be longer
    )


POINTER: Final = ctypes.c_void_p
# llama.h's own signatures: (name, result, arguments).
SIGNATURES: Final = (
    ("llama_backend_init", None, ()),
    ("llama_model_default_params", ModelParams, ()),
    ("llama_model_load_from_file", POINTER, (ctypes.c_char_p, ModelParams)),
    ("llama_model_get_vocab", POINTER, (POINTER,)),
    (
        "llama_tokenize",
        ctypes.c_int32,
        (
            *(POINTER, ctypes.c_char_p, ctypes.c_int32, POINTER, ctypes.c_int32),
            *(ctypes.c_bool, ctypes.c_bool),
        ),
    ),
)


def library() -> ctypes.CDLL:
    """The wheel's shared object."""
    spec = importlib.util.find_spec("xllamacpp")
    if spec is None or spec.origin is None:
        sys.exit("xllamacpp isn't installed")
    found = ctypes.CDLL(str(next(Path(spec.origin).parent.glob("xllamacpp*.so"))))
    for name, result, arguments in SIGNATURES:
        function = getattr(found, name)
        function.restype, function.argtypes = result, list(arguments)
    return found


def count(model: str, prompt: bytes) -> int:
    """Tokens of `prompt` as the engine's server makes them: with the model's own first token."""
    llama = library()
    llama.llama_backend_init()
    params = llama.llama_model_default_params()
    if params.vocab_only or params.no_alloc or params.tensor_split is not None:
        sys.exit("this wheel's struct is not the one known here")
    params.vocab_only = True
    loaded = llama.llama_model_load_from_file(model.encode(), params)
    if not loaded:
        sys.exit(f"{model} has no vocabulary llama.cpp can load")
    vocabulary = llama.llama_model_get_vocab(loaded)
    # With no room for them it answers minus their number.
    return -int(llama.llama_tokenize(vocabulary, prompt, len(prompt), None, 0, 1, 1))


if __name__ == "__main__":
    print(count(sys.argv[1], sys.stdin.buffer.read()))
