"""A real HTTP server on this machine with the embeddings API, which can be told to misbehave."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Reply:
    """What is answered in place of the vectors: a status, headers and a body, after some seconds."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    broken: bool = False  # the connection is closed in the middle of the body


@dataclass
class Endpoint:
    """The server's state.

    Attributes
    ----------
    url : the base URL
    replies : given in turn before good answers; None among them is a good answer
    requests : the payloads of all requests, in order
    keys : their Authorization headers
    times : when they came, in seconds
    most : of them at a time
    """

    url: str = ""
    width: int = 8
    replies: list[Reply | None] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    delay: float = 0.0
    most: int = 0
    running: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def texts(self) -> list[str]:
        return [text for request in self.requests for text in request["input"]]


def vector_of(text: str, width: int) -> np.ndarray:
    """The vector that the server gives a text."""
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    x = np.random.default_rng(seed).standard_normal(width).astype(np.float32)
    return x / np.linalg.norm(x)


def good_answer(payload: dict[str, Any], width: int) -> bytes:
    """The vectors, out of order, as the API allows."""
    entries = [
        {"object": "embedding", "index": i, "embedding": vector_of(text, width).tolist()}
        for i, text in enumerate(payload["input"])
    ]
    return json.dumps({"object": "list", "model": payload["model"], "data": entries[::-1]}).encode()


@contextmanager
def serve(**state: Any) -> Iterator[Endpoint]:
    """A server on a free port for one block."""
    endpoint = Endpoint(**state)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with endpoint.lock:
                endpoint.requests.append(payload)
                endpoint.keys.append(self.headers.get("Authorization"))
                endpoint.paths.append(self.path)
                endpoint.times.append(time.monotonic())
                endpoint.running += 1
                endpoint.most = max(endpoint.most, endpoint.running)
                reply = endpoint.replies.pop(0) if endpoint.replies else None
            time.sleep(endpoint.delay + (reply.delay if reply else 0.0))
            with endpoint.lock:
                endpoint.running -= 1  # before the client has its answer, and asks again
            with suppress(BrokenPipeError, ConnectionResetError):  # where the client gave up waiting
                self.answer(reply or Reply(body=good_answer(payload, payload.get("dimensions", endpoint.width))))

        do_GET = do_POST  # noqa: N815 - the name that http.server looks for

        def answer(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body) + 100 * reply.broken))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
