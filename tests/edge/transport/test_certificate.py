"""A certificate is its key: OpenSSL reads it, and nobody else's passes for it."""

import ssl

from hypothesis import given
from hypothesis import strategies as st

from mesh.edge.transport import certificate
from mesh.ledger import signing

SEEDS = st.binary(min_size=32, max_size=32)


def made(seed: bytes) -> tuple[bytes, bytes]:
    """(key, certificate) of a seed."""
    key = bytes.fromhex(signing.author_of(seed))
    return key, certificate.certificate(key, certificate.signature_of(seed))


@given(SEEDS)
def test_the_key_comes_back_and_the_signature_is_its_owners(seed: bytes) -> None:
    key, der = made(seed)
    assert certificate.key_of(der) == key
    assert made(seed)[1] == der
    assert certificate.is_sound(key, der[-64:])
    assert not certificate.is_sound(key, bytes(64))


@given(SEEDS, st.data())
def test_a_changed_certificate_has_no_key_or_is_not_sound(seed: bytes, data: st.DataObject) -> None:
    key, der = made(seed)
    place = data.draw(st.integers(0, len(der) - 1))
    other = der[:place] + bytes([der[place] ^ 1]) + der[place + 1 :]
    found = certificate.key_of(other)
    assert found is None or not certificate.is_sound(found, other[-64:])


@given(st.binary(max_size=400))
def test_garbage_has_no_key(data: bytes) -> None:
    assert certificate.key_of(data) is None


def test_openssl_reads_it_as_a_certificate_that_does_not_expire() -> None:
    key, der = made(bytes(range(32)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=der)
    (read,) = context.get_ca_certs()
    assert read["notAfter"] == "Dec 31 23:59:59 9999 GMT"
    assert read["subject"] == ((("commonName", key.hex()),),)
