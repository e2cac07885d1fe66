"""Keys of accounts at clouds: from the environment, else from the system's keyring.

They are in no event, log, argument or error, and on no rented machine. Whoever holds one holds a
`Key`, which shows nothing of itself; `reveal` is called where a request's header is written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping, Set
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from typing import Final, Literal, NoReturn, final

from mesh.api.errors import RequestError
from mesh.edge.clouds import ring

Source = Literal["environment", "keyring", ""]
# Real ones have 32 to 80 characters; a header of a request takes a few thousand.
LEAST, MOST = 8, 512
ACCOUNT_BYTES: Final = 5  # of a hash, ten hex digits: enough to tell a person's accounts apart


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A cloud: `variable` is what its own programs call the key, `page` where one is made."""

    name: str
    title: str
    variable: str
    page: str
    aliases: tuple[str, ...] = ()


PROVIDERS: Final[tuple[Provider, ...]] = (
    Provider(
        name="vastai",
        title="Vast.ai",
        variable="VAST_API_KEY",
        page="https://cloud.vast.ai/manage-keys/",
        aliases=("vast", "vast.ai"),
    ),
    Provider(
        name="runpod",
        title="RunPod",
        variable="RUNPOD_API_KEY",
        page="https://console.runpod.io/user/settings",
        aliases=("runpod.io",),
    ),
    Provider(
        name="lambdalabs",
        title="Lambda Cloud",
        variable="LAMBDA_API_KEY",
        page="https://cloud.lambda.ai/api-keys",
        aliases=("lambda", "lambda.ai", "lambdacloud"),
    ),
)


@final
class Key:
    """A secret that is shown by nothing: not by repr, format, pickle, copy or JSON."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret: Final = secret

    def reveal(self) -> str:
        """The secret itself, for the header of a request and nothing else."""
        return self._secret

    def account(self, provider: str) -> str:
        """Which account it opens, told apart from others and saying nothing of the key."""
        text = f"{provider}\0{self._secret}".encode()
        return blake2b(text, digest_size=ACCOUNT_BYTES).hexdigest()

    def __repr__(self) -> str:
        return "Key(…)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        return compare_digest(self._secret.encode(), other._secret.encode())

    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key is not written anywhere")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is known of a provider's key. `where`: the variable's name, or the keyring's. `note`:
    why there is none, where it is not that nobody gave one."""

    provider: Provider
    key: Key | None = None
    source: Source = ""
    where: str = ""
    note: str = ""

    @property
    def account(self) -> str:
        """The account's short id; "" without a key."""
        return "" if self.key is None else self.key.account(self.provider.name)


def provider_of(text: str) -> Provider | None:
    """The provider of a name, as people type it; what is none may be a key, so nobody quotes it."""
    said = text.strip().lower()
    return next((one for one in PROVIDERS if said == one.name or said in one.aliases), None)


def read_key(text: str) -> Key:
    """A key as it was typed or piped; RequestError, which does not quote it, where it is none."""
    said = text.strip()
    if not said:
        raise RequestError("BadKey", "the key is empty", "paste it at the prompt, or pipe it in")
    if not is_key(said):
        rule = f"{LEAST} to {MOST} letters, digits and signs in one word"
        raise RequestError("BadKey", f"that is no key: one is {rule}", "copy it once more")
    return Key(said)


def is_key(text: str) -> bool:
    """Whether it can be sent as a key: a header takes neither blanks nor control characters."""
    good = LEAST <= len(text) <= MOST and text.isascii() and text.isprintable()
    return good and " " not in text


def find(provider: Provider, environment: Mapping[str, str] | None = None) -> Account:
    """The provider's key, the environment's first. May wait for the keyring; raises nothing."""
    given = (os.environ if environment is None else environment).get(provider.variable, "").strip()
    if not given:
        return _kept(provider)
    if not is_key(given):
        return Account(provider=provider, note=f"what {provider.variable} holds is no key")
    return Account(provider=provider, key=Key(given), source="environment", where=provider.variable)


def find_all(environment: Mapping[str, str] | None = None) -> tuple[Account, ...]:
    """All providers, with or without a key."""
    return tuple(find(provider, environment) for provider in PROVIDERS)


def withdraw(environment: MutableMapping[str, str] | None = None) -> dict[str, str]:
    """The keys of an environment, taken out of it: jobs, engines and whatever else this process
    starts inherit the rest and none of them. Of our own it is wiped, too, where Linux shows it to
    every process of this user: /proc/PID/environ."""
    source = os.environ if environment is None else environment
    names = [one.variable for one in PROVIDERS if one.variable in source]
    found = {name: source[name] for name in names}
    if source is os.environ and sys.platform == "linux":
        _wipe({name.encode() for name in names})
    for name in names:
        del source[name]
    return found


def _wipe(names: Set[bytes]) -> None:
    """Zeros in place of the values in the memory that the process was started with."""
    import ctypes

    try:
        block = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    except (OSError, ValueError):
        return  # a C library without it: nothing that is shown is less than before
    at = 0
    while block and (address := block[at]) is not None:
        name, _, value = ctypes.string_at(address).partition(b"=")
        if name in names:
            ctypes.memset(address + len(name) + 1, 0, len(value))
        at += 1


def _kept(provider: Provider) -> Account:
    try:
        secret, where = ring.get(provider.name), ring.name()
    except RequestError as error:
        return Account(provider=provider, note=error.text)
    if secret is None:
        return Account(provider=provider)
    if not is_key(secret):
        return Account(provider=provider, note="what the keyring holds is no key")
    return Account(provider=provider, key=Key(secret), source="keyring", where=where)


def keep(provider: Provider, key: Key) -> str:
    """Keep it in the keyring, in place of what was there; returns the keyring's name."""
    ring.put(provider.name, key.reveal())
    return ring.name()


def forget(provider: Provider) -> bool:
    """Remove it from the keyring; False where there was none. The environment is not ours."""
    return ring.remove(provider.name)
