"""A path as somebody typed it: what no file can be called is an OSError, as a missing one is."""

import errno
import os
from pathlib import Path


def typed_path(text: str) -> Path:
    """The file or folder that is meant, `~` and `~user` told; OSError where there can be none."""
    if "\0" in text:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), text)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(errno.ENOENT, "no such user's home", text) from error
