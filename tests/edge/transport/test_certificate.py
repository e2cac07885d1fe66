"""A certificate is its key: OpenSSL reads it, strict or not, and nobody else's passes for it."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.edge.transport import certificate
from mesh.edge.transport.certificate import V1, V3
from mesh.ledger import signing

SEEDS = st.binary(min_size=32, max_size=32)


FORMS = st.sampled_from((V1, V3))


def made(seed: bytes, form: int = V3) -> tuple[bytes, bytes]:
    """(key, certificate) of a seed."""
    key = bytes.fromhex(signing.author_of(seed))
    return key, certificate.certificate(key, certificate.signature_of(seed, form))


@given(SEEDS, FORMS)
def test_the_key_comes_back_and_the_signature_is_its_owners(seed: bytes, form: int) -> None:
    key, der = made(seed, form)
    assert certificate.key_of(der) == key
    assert made(seed, form)[1] == der
    assert certificate.form_of(key, der[-64:]) == form
    assert not certificate.is_sound(key, bytes(64))


@given(SEEDS)
def test_a_signature_says_which_form_of_certificate_was_meant(seed: bytes) -> None:
    (key, old), (_, new) = made(seed, V1), made(seed, V3)
    assert old[-64:] != new[-64:]
    assert certificate.certificate(key, old[-64:]) == old
    assert certificate.certificate(key, new[-64:]) == new


@given(SEEDS, FORMS, st.data())
def test_a_changed_certificate_has_no_key_or_is_not_sound(
    seed: bytes, form: int, data: st.DataObject
) -> None:
    key, der = made(seed, form)
    place = data.draw(st.integers(0, len(der) - 1))
    other = der[:place] + bytes([der[place] ^ 1]) + der[place + 1 :]
    found = certificate.key_of(other)
    assert found is None or not certificate.is_sound(found, other[-64:])


@given(st.binary(max_size=600))
def test_garbage_has_no_key(data: bytes) -> None:
    assert certificate.key_of(data) is None


def openssl(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", *args], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "certificate.pem"
    path.write_text(certificate.certificate_pem(made(bytes(range(32)))[1]))
    return path


def test_openssl_reads_it_as_a_certificate_that_does_not_expire(pem: Path) -> None:
    key, _ = made(bytes(range(32)))
    text = openssl("x509", "-in", str(pem), "-noout", "-text").stdout
    for line in (
        "Version: 3 (0x2)",
        "Not After : Dec 31 23:59:59 9999 GMT",
        key.hex(),
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "DNS:fleet.invalid",
    ):
        assert line in text, text


@pytest.mark.parametrize("purpose", ["any", "sslserver", "sslclient"])
@pytest.mark.parametrize("anchor", ["-CAfile", "-trusted"])
def test_a_strict_verifier_takes_it_as_its_own_anchor(pem: Path, anchor: str, purpose: str) -> None:
    done = openssl("verify", "-x509_strict", "-purpose", purpose, anchor, str(pem), str(pem))
    assert (done.returncode, done.stdout) == (0, f"{pem}: OK\n"), done.stderr


def test_a_strict_verifier_refuses_the_form_of_earlier_versions(tmp_path: Path) -> None:
    path = tmp_path / "old.pem"
    path.write_text(certificate.certificate_pem(made(bytes(range(32)), V1)[1]))
    assert openssl("verify", "-x509_strict", "-CAfile", str(path), str(path)).returncode != 0
    assert openssl("verify", "-CAfile", str(path), str(path)).returncode == 0
