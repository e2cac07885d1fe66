"""The system's keyring, through the one file that knows the `keyring` package.

It is optional, and loaded when a key is looked for: the extra `clouds` installs it. Every call may
wait for a person who unlocks the keyring, so a loop asks in a thread. No error from here quotes
what the keyring said, for that could be what it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from mesh.api.errors import RequestError

SERVICE: Final = "fleet-ledger"
EXTRA: Final = "clouds"  # of our package, which stands for this one
PACKAGE: Final = "keyring"
# Backends that are there where none works: they refuse everything, or forget it.
_NONE: Final = ("keyring.backends.fail", "keyring.backends.null")
_CHAIN: Final = "keyring.backends.chainer"
Answer = TypeVar("Answer")


class NoKeyring(RequestError):
    """There is no keyring to use. `is_missing`: the package itself is not installed."""

    def __init__(self, text: str, hint: str = "", *, is_missing: bool = False) -> None:
        super().__init__("NoKeyring", text, hint, 409)
        self.is_missing = is_missing


class KeyringFailed(RequestError):
    """There is one, and it did not do what it was asked."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__("KeyringFailed", text, hint, 409)


def name() -> str:
    """What it is called here: "SecretService", "macOS", "Windows"; NoKeyring where none works."""
    return _name(_backend())


def get(account: str) -> str | None:
    """What is kept for an account; None where nothing is."""
    backend = _backend()
    with _explained("read"):
        found: object = backend.get_password(SERVICE, account)
    return found if isinstance(found, str) and found else None


def put(account: str, secret: str) -> None:
    """Keep it, and see that it is kept."""
    backend = _backend()
    with _explained("write"):
        backend.set_password(SERVICE, account, secret)
    if get(account) != secret:
        raise KeyringFailed("the keyring took the key and does not have it")


def remove(account: str) -> bool:
    """Forget it; False where nothing was kept."""
    backend = _backend()
    if get(account) is None:
        return False
    with _explained("change"):
        backend.delete_password(SERVICE, account)
    return True


def _backend() -> Any:
    """The keyring of this system, which works as far as it says."""
    try:
        import keyring
    except ImportError:
        text = "the system's keyring can't be used without the package keyring"
        raise NoKeyring(text, is_missing=True) from None
    backend = _asked(keyring.get_keyring)
    if not _works(backend):
        raise NoKeyring("this system has no keyring that works")
    return backend


def _works(backend: Any) -> bool:
    home = type(backend).__module__
    if home == _CHAIN:  # several at once, or none at all
        return any(_works(one) for one in backend.backends)
    return home not in _NONE


def _name(backend: Any) -> str:
    return type(backend).__module__.rpartition(".")[2] or type(backend).__name__


def _asked(what: Callable[[], Answer]) -> Answer:
    with _explained("open"):
        return what()


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Backends raise what they like: their own, D-Bus', the system's."""
    try:
        yield
    except Exception as error:
        from keyring.errors import KeyringLocked, NoKeyringError

        kind = type(error).__name__
        if isinstance(error, NoKeyringError):
            raise NoKeyring("this system has no keyring that works") from None
        if isinstance(error, KeyringLocked):
            raise KeyringFailed("the keyring is locked", "unlock it, then once more") from None
        raise KeyringFailed(f"could not {what} the keyring ({kind})") from None
