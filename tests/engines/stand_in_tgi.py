"""A STAND-IN for Text Generation Inference, which can't be had here: its protocol and no model.

`python -m tests.engines.stand_in_tgi --model-id=… --port=N …`, as its launcher is told. The
`text-generation` package of PyPI reads its answers without complaint (drive_stand_ins).
"""

import argparse
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = os.environ.get("API_KEY", "")
MOST = 4096


class Tgi(BaseHTTPRequestHandler):
    """Its routes that a job needs."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        known = self.path in ("/health", "/metrics")
        self._send(200 if known else 404, b"", "text/plain")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if KEY and self.headers.get("Authorization") != f"Bearer {KEY}":
            self._send(401, b'{"error":"unauthorized"}', "application/json")
        elif self.path == "/v1/chat/completions":
            words = asked["messages"][-1]["content"].split()
            self._stream(_chat(len(words), int(asked["max_tokens"])))
        elif self.path in ("/generate_stream", "/generate", "/"):
            whole = self.path == "/generate" or (self.path == "/" and not asked.get("stream"))
            self._generate(asked, whole=whole)
        else:
            self._send(404, b"", "text/plain")

    def _generate(self, asked: dict, *, whole: bool) -> None:
        count, read = int(asked["parameters"]["max_new_tokens"]), len(asked["inputs"].split())
        if read + count > MOST:
            text = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= " + str(
                MOST
            )
            body = json.dumps({"error": text, "error_type": "validation"}).encode()
            self._send(422, body, "application/json")
        elif whole:
            row = {"generated_text": _text(count), "details": _details(count, read)}
            row["details"] |= {"prefill": [], "tokens": [_token(i) for i in range(count)]}
            data = json.dumps([row] if self.path == "/" else row).encode()
            self._send(200, data, "application/json")
        else:
            rows = [
                {"token": _token(i), "generated_text": None, "details": None} for i in range(count)
            ]
            rows[-1] |= {"generated_text": _text(count), "details": _details(count, read)}
            self._stream([json.dumps({"index": i + 1, **row}) for i, row in enumerate(rows)])

    def _stream(self, events: list[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            data = f"data:{event}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _token(i: int) -> dict:
    return {"id": i, "text": f" word{i}", "logprob": -0.5, "special": False}


def _text(count: int) -> str:
    return "".join(f" word{i}" for i in range(count))


def _details(count: int, read: int) -> dict:
    return {
        "finish_reason": "length",
        "generated_tokens": count,
        "input_length": read,
        "seed": None,
    }


def _chat(read: int, count: int) -> list[str]:
    def row(delta: dict, finish: str | None) -> dict:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {"object": "chat.completion.chunk", "id": "", "choices": [choice], "usage": None}

    rows = [row({"role": "assistant", "content": f" word{i}"}, None) for i in range(count)]
    rows[-1]["choices"][0]["finish_reason"] = "length"
    usage = {"prompt_tokens": read, "completion_tokens": count, "total_tokens": read + count}
    last = {**row({}, None), "choices": [], "usage": usage}
    return [*(json.dumps(one) for one in (*rows, last)), "[DONE]"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("--model-id", "--hostname", "--kv-cache-dtype"):
        parser.add_argument(name)
    for name in ("--port", "--max-total-tokens", "--max-input-tokens", "--num-shard"):
        parser.add_argument(name, type=int)
    parser.add_argument("--max-concurrent-requests", type=int)
    parser.add_argument("--disable-custom-kernels", action="store_true")
    told = parser.parse_args()
    MOST = told.max_total_tokens
    ThreadingHTTPServer((told.hostname, told.port), Tgi).serve_forever()
