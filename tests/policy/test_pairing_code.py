"""An invite's code survives being typed; its MACs hold for one talk between two keys."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.policy import pairing
from mesh.policy.pairing import Code, CodeError, Talk

ADDRESSES = st.lists(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), max_size=3)
CODES = st.builds(
    lambda secret, fingerprint, port, found: Code(
        secret=secret, fingerprint=fingerprint, port=port, addresses=tuple(map(str, found))
    ),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=4, max_size=4),
    st.integers(0, 65535),
    ADDRESSES,
)
KEYS = st.binary(min_size=32, max_size=32)
TALKS = st.builds(
    Talk,
    host_key=KEYS,
    guest_key=KEYS,
    host_nonce=KEYS,
    guest_nonce=KEYS,
    tls=st.binary(min_size=64, max_size=64),
    name=st.from_regex(r"\A[a-z0-9-]{1,40}\Z"),
)


@given(CODES)
def test_a_code_is_read_back_whatever_case_and_spacing(code: Code) -> None:
    text = pairing.render_code(code)
    assert pairing.parse_code(text) == code
    assert pairing.parse_code("  " + text.lower().replace("-", " ")) == code


@given(CODES, st.data())
def test_one_mistyped_character_is_named_before_anything_is_sent(
    code: Code, data: st.DataObject
) -> None:
    text = pairing.render_code(code)
    place = data.draw(st.integers(0, len(text) - 1))
    typed = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
    if text[place] not in ("-", typed):
        with pytest.raises(CodeError, match="group"):
            pairing.parse_code(text[:place] + typed + text[place + 1 :])


@given(st.text(max_size=300))
def test_any_text_is_a_code_or_refused_with_a_reason(text: str) -> None:
    with contextlib.suppress(CodeError):
        assert len(pairing.parse_code(text).secret) == 16


@given(TALKS, st.binary(min_size=16, max_size=16), st.data())
def test_a_mac_fits_no_other_talk_and_no_other_secret(
    talk: Talk, secret: bytes, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(("host_key", "guest_key", "host_nonce", "guest_nonce")))
    other = replace(talk, **{name: bytes(b ^ 1 for b in getattr(talk, name))})
    mac = pairing.guest_mac(secret, talk)
    assert pairing.matches(mac, pairing.guest_mac(secret, talk))
    assert not pairing.matches(mac, pairing.guest_mac(secret, other))
    assert not pairing.matches(mac, pairing.guest_mac(bytes(b ^ 1 for b in secret), talk))
    assert pairing.host_mac(secret, talk, b"a") != pairing.host_mac(secret, talk, b"b")


def test_an_invites_name_says_nothing_of_its_secret() -> None:
    secret = bytes(range(16))
    assert secret.hex() not in pairing.invite_id(secret)
    assert pairing.invite_id(secret) != pairing.invite_id(bytes(16))
