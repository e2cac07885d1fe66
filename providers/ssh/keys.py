"""New SSH keys, by the library that asyncssh itself makes them with."""

from __future__ import annotations


def new_key() -> tuple[str, str]:
    """A new ed25519 key: the private one in OpenSSH's form, and the public one on a line."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    return private.decode(), public.decode()
