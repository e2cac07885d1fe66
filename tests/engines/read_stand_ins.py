"""The real clients of PyPI read our stand-ins: python read_stand_ins.py PYTHON_WITH_OURS."""

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ollama
import text_generation


@contextlib.contextmanager
def running(words: list[str], port: int, env: dict[str, str]) -> Iterator[None]:
    child = subprocess.Popen([sys.argv[1], "-m", *words], env=os.environ | env)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield
    finally:
        child.terminate()
        child.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def read_ollama() -> None:
    port = free_port()
    env = {"OLLAMA_HOST": f"127.0.0.1:{port}"}
    with running(["tests.engines.stand_in_ollama", "serve"], port, env):
        client = ollama.Client(host=f"http://127.0.0.1:{port}")
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"GGUF")
            file.flush()
            digest = client.create_blob(file.name)
        assert digest == "sha256:" + hashlib.sha256(b"GGUF").hexdigest()
        client.create(model="m", files={"m.gguf": digest}, stream=False)
        assert [one.model for one in client.list().models] == ["m"]
        pieces = list(
            client.generate(model="m", prompt="a b", stream=True, options={"num_predict": 3})
        )
        assert (len(pieces), pieces[-1].done, pieces[-1].eval_count) == (4, True, 3)
        said = client.chat(
            model="m", messages=[{"role": "user", "content": "a"}], options={"num_predict": 2}
        )
        assert said.message.content == " word0 word1"
        client.delete("m")
        with contextlib.suppress(ollama.ResponseError):
            client.generate(model="m", prompt="a")
            raise AssertionError("a deleted model answered")
    print(f"the real client ollama reads the stand-in: {Path(ollama.__file__).parent.name}")


def read_tgi() -> None:
    port = free_port()
    words = ["tests.engines.stand_in_tgi", "--model-id=m", "--hostname=127.0.0.1"]
    with running([*words, f"--port={port}", "--max-total-tokens=100"], port, {}):
        client = text_generation.Client(f"http://127.0.0.1:{port}")
        pieces = list(client.generate_stream("a b", max_new_tokens=3))
        assert [one.token.text for one in pieces] == [" word0", " word1", " word2"]
        assert pieces[-1].details.generated_tokens == 3
        assert client.generate("a b", max_new_tokens=2).generated_text == " word0 word1"
        with contextlib.suppress(text_generation.errors.ValidationError):
            client.generate("a b", max_new_tokens=200)
            raise AssertionError("more than the context was answered")
    print("the real client text-generation reads the stand-in")


if __name__ == "__main__":
    read_ollama()
    read_tgi()
