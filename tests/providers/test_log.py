"""A log keeps its beginning and its end and never grows past its limit."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from providers.log import MAX_TAIL_BYTES, Log, last_words


def test_a_short_log_is_kept_whole(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.txt", limit=100)
    log.write(b"one\n")
    log.write(b"two\n")
    log.close()
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n"


def test_a_long_log_keeps_head_and_tail_and_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    log = Log(path, limit=1000)
    log.write(b"first words\n")
    for _ in range(300):
        log.write(b"x" * 1000)
    log.write(b"last words\n")
    log.close()
    text = path.read_text()
    assert text.startswith("first words\n")
    assert text.endswith("last words\n")
    said = 12 + 300 * 1000 + 11
    assert f"{said - 1000 - MAX_TAIL_BYTES} bytes left out here" in text
    assert len(text) < 1000 + MAX_TAIL_BYTES + 100


@given(st.lists(st.binary(max_size=60), max_size=40))
def test_no_byte_is_written_twice_or_lost_while_the_tail_remembers(chunks: list[bytes]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.txt"
        log = Log(path, limit=100)
        for chunk in chunks:
            log.write(chunk)
        log.close()
        written = path.read_bytes().replace(b"\n[log over its limit: 0 bytes left out here]\n", b"")
        assert written == b"".join(chunks)


def test_an_engines_own_line_beats_the_last_one() -> None:
    assert last_words("noise\nengine: no such model\nbye\n") == "no such model"
    assert last_words("first\nlast\n\n") == "last"
    assert last_words("") == ""
