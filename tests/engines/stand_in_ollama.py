"""A STAND-IN for Ollama's server, which can't be had here: its protocol and no model.

`python -m tests.engines.stand_in_ollama serve`, told by OLLAMA_HOST as the real one is. It answers
num_predict words; the `ollama` package of PyPI reads it without complaint (drive_stand_ins).
"""

import hashlib
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

AT = "2026-11-29T00:00:00Z"
BLOBS: set[str] = set()
MODELS: dict[str, str] = {}  # name -> digest


class Ollama(BaseHTTPRequestHandler):
    """Its routes that a job needs, and those the client reads them back by."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        known = self.path.removeprefix("/api/blobs/") in BLOBS or self.path == "/"
        self._send(200 if known else 404)

    def do_GET(self) -> None:
        if self.path == "/api/version":
            self._send(200, {"version": "0.13.0"})
        elif self.path == "/api/tags":
            self._send(200, {"models": [_listed(name, MODELS[name]) for name in MODELS]})
        else:
            self._send(404, {"error": "not found"})

    def do_DELETE(self) -> None:
        known = MODELS.pop(str(self._asked().get("model")), None)
        self._send(200 if known else 404)

    def do_POST(self) -> None:
        if self.path.startswith("/api/blobs/"):
            self._take_blob(self.path.removeprefix("/api/blobs/"))
            return
        asked = self._asked()
        if self.path == "/api/create":
            (digest,) = asked["files"].values()
            if digest not in BLOBS:
                self._send(400, {"error": f"blob {digest} not found"})
                return
            MODELS[asked["model"]] = digest
            self._send(200, {"status": "success"})
        elif asked.get("model") not in MODELS:
            self._send(404, {"error": f"model '{asked.get('model')}' not found"})
        elif self.path in ("/api/generate", "/api/chat"):
            self._answer(asked)

    def _take_blob(self, digest: str) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        right = digest == "sha256:" + hashlib.sha256(data).hexdigest()
        BLOBS.update({digest} if right else ())
        self._send(201 if right else 400, None if right else {"error": "digest mismatch"})

    def _answer(self, asked: dict) -> None:
        options = asked.get("options") or {}
        count = int(options.get("num_predict", 4))
        words = asked.get("prompt") or asked["messages"][-1]["content"]
        read = len(words.split())
        if read + count > int(options.get("num_ctx", 4096)):
            self._send(400, {"error": "the input length exceeds the context length"})
            return
        rows = [_piece(asked, f" word{i}") for i in range(count)]
        rows.append(
            _piece(asked, "")
            | {"done": True, "done_reason": "length", "total_duration": 10**9}
            | {"load_duration": 1, "prompt_eval_count": read, "prompt_eval_duration": 1}
            | {"eval_count": count, "eval_duration": 10**8}
        )
        if asked.get("stream", True) is False:
            text = "".join(f" word{i}" for i in range(count))
            self._send(200, rows[-1] | _piece(asked, text) | {"done": True})
            return
        self._stream(rows)

    def _stream(self, rows: list[dict]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for row in rows:
            data = json.dumps(row).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def _asked(self) -> dict:
        found = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        assert isinstance(found, dict)
        return found

    def _send(self, status: int, body: dict | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _piece(asked: dict, text: str) -> dict:
    said = (
        {"message": {"role": "assistant", "content": text}}
        if "messages" in asked
        else {"response": text}
    )
    return {"model": asked["model"], "created_at": AT, "done": False, **said}


def _listed(name: str, digest: str) -> dict:
    return {"name": name, "model": name, "modified_at": AT, "size": 1, "digest": digest[7:]}


if __name__ == "__main__":
    assert sys.argv[1:] == ["serve"], sys.argv
    host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
    ThreadingHTTPServer((host, int(port)), Ollama).serve_forever()
