"""Encoders behind an OpenAI-compatible endpoint, POST BASE_URL/embeddings: batches, retries, limits."""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import random
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vec2vec.encoders.base import EncoderOptions, Identity, Item, ItemsError, refuse_options
from vec2vec.encoders.registry import find_card
from vec2vec.errors import ConfigError, DimensionError, InputError
from vec2vec.vectors import Float32, Int64, one_line

OPENAI = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
BATCH_CHARACTERS = 200_000  # in one request, unless a single text has more
FOR_NOW = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}  # statuses that may be gone at the next try
LONGEST_WAIT = 300.0  # seconds; an endpoint that asks for more is given up
MOST_BYTES = 512 * 2**20  # of an answer
MOST_OF_A_MESSAGE = 200  # letters of one that is no JSON
KEPT = "what was embedded so far is kept: run it again later"
LOCAL = ("localhost", "127.0.0.1", "::1")
HERE_ONLY = ("max_tokens", "device", "dtype", "backend", "batch_tokens", "threads", "trust_remote_code", "revision")


class HttpEncoder:
    """A model behind an endpoint. Texts are sent whole: how they are cut is the endpoint's business.

    The first request, of one word, finds the width of the vectors.

    Parameters
    ----------
    model : as the endpoint calls it
    base_url : such as "https://api.openai.com/v1"
    options : see `EncoderOptions`. The key comes from the environment variable `key_variable`: OPENAI_API_KEY for
        OpenAI itself; to other hosts a key is sent only if the variable is named, and to none without encryption,
        unless that is this machine.

    Raises
    ------
    ConfigError : a URL that will not do, or no key where one is needed
    InputError : the endpoint does not answer, refuses, or answers nonsense
    """

    images = False

    def __init__(self, model: str, base_url: str, options: EncoderOptions) -> None:
        refuse_options(model, options, HERE_ONLY)
        self.model = model
        self.url = check_url(base_url)
        self.options = options
        self._key = _find_key(self.url, options)
        self._pace = _Pace(options.requests_per_minute)
        card = find_card(model)
        self.prefix = card.prefix(options.prompt) if card else ""
        probe = self._request(["vec2vec"], 0)
        self.width = probe.shape[1]
        if options.dimensions is not None and self.width != options.dimensions:
            raise InputError(
                f"{self.url}: the model {model} gave vectors of {self.width} dimensions, {options.dimensions} were "
                "asked for; it cannot shorten them"
            )
        self.identity = Identity(
            encoder=model,
            family="http",
            revision="",
            dimensions=self.width,
            max_tokens=None,
            prompt=options.prompt,
            prefix=self.prefix,
            normalized=bool(abs(float(np.linalg.norm(probe[0])) - 1) < 1e-3),
            dtype="float32",
            backend="http",
            endpoint=self.url,
        )

    def batches(self, items: Sequence[Item]) -> Iterator[tuple[Int64, Float32]]:
        """See `Encoder.batches`. Batches come as their answers do, in any order."""
        if any(isinstance(item, Path) for item in items):
            raise InputError(f"{self.model}: an endpoint embeds texts, not images")
        texts = [self.prefix + str(item) for item in items]
        todo = iter(_plan(texts, self.options.batch_rows))
        stop = threading.Event()
        pool = ThreadPoolExecutor(self.options.concurrency, thread_name_prefix="embeddings")
        running: dict[Future[Float32], Int64] = {}
        try:
            while True:
                while len(running) < 2 * self.options.concurrency and (positions := next(todo, None)) is not None:
                    batch = [texts[i] for i in positions]
                    running[pool.submit(self._request, batch, int(positions[0]), stop)] = positions
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda one: one.exception() is not None):  # good answers are not lost
                    yield running.pop(future), future.result()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _request(self, texts: list[str], first: int, stop: threading.Event | None = None) -> Float32:
        """(k, width) float32: one request, tried again where that may help. `first` is the first text's position."""
        payload: dict[str, Any] = {"model": self.model, "input": texts, "encoding_format": "float"}
        if self.options.dimensions is not None:
            payload["dimensions"] = self.options.dimensions
        body = json.dumps(payload).encode()
        where = f"{self.url} ({self.model}; {len(texts)} texts)"
        attempt = 0
        while True:
            self._pace.wait(stop)
            outcome = self._post(body)
            if isinstance(outcome, bytes):
                return self._vectors(outcome, len(texts))
            if not outcome.for_now:
                raise ItemsError(f"{where}: {outcome.message}", first)
            if attempt == self.options.retries:
                raise ItemsError(f"{where}: {outcome.message}; gave up after {attempt + 1} tries; {KEPT}", first)
            if (outcome.after or 0.0) > LONGEST_WAIT:
                raise ItemsError(f"{where}: {outcome.message}; it asks to wait {outcome.after:,.0f} s; {KEPT}", first)
            self._pace.hold(delay(outcome.after, attempt))
            attempt += 1

    def _post(self, body: bytes) -> bytes | _Failure:
        """The body of the answer, or what went wrong."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "vec2vec"}
        request = urllib.request.Request(f"{self.url}/embeddings", body, headers, method="POST")
        if self._key:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        try:
            with open_request(request, self.options.timeout) as answer:
                content: bytes = answer.read(MOST_BYTES + 1)
                due = answer.length  # what is still to come: reading does not mind if it never does
        except urllib.error.HTTPError as error:
            with error:
                said = self._hide(_message(error))
            return _Failure(f"HTTP {error.code}{said}", error.code in FOR_NOW, seconds_asked(error))
        except TimeoutError:
            return _Failure(f"no answer within {self.options.timeout:g} s", True)
        except urllib.error.URLError as error:
            return _Failure(f"cannot be reached ({self._hide(one_line(_reason(error)))})", True)
        except (OSError, http.client.HTTPException) as error:
            return _Failure(f"the connection broke off ({self._hide(one_line(error))})", True)
        if len(content) > MOST_BYTES:
            return _Failure(f"the answer has more than {MOST_BYTES // 2**20} MiB", False)
        if due:
            return _Failure(f"the connection broke off, {due:,} bytes before the end of the answer", True)
        return content

    def _vectors(self, content: bytes, rows: int) -> Float32:
        """The vectors of an answer, by their `index`; InputError where it is not what it should be."""

        def nonsense(what: str) -> InputError:
            return InputError(f"{self.url}: the endpoint answered {what}; is it OpenAI-compatible?")

        try:
            tree = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise nonsense("with something that is not JSON") from error
        data = tree.get("data") if isinstance(tree, dict) else None
        if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
            said = self._hide(_said(tree) if isinstance(tree, dict) and "error" in tree else "")
            raise nonsense(f"without a list 'data'{said and f', but: {said}'}")
        if len(data) != rows:
            raise nonsense(f"with {len(data)} vectors for {rows} texts")
        places = [entry.get("index", i) for i, entry in enumerate(data)]
        if not all(type(place) is int for place in places) or sorted(places) != list(range(rows)):
            raise nonsense("with indices that are not those of the texts")
        try:
            listed = np.array([entry["embedding"] for entry in data], np.float32)
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise nonsense("with embeddings that are no vectors of one width") from error
        if listed.ndim != 2 or listed.shape[1] == 0 or not np.isfinite(listed).all():
            raise nonsense("with embeddings that are no finite vectors")
        width = getattr(self, "width", listed.shape[1])
        if listed.shape[1] != width:
            raise DimensionError(f"{self.url}: the vectors have width {listed.shape[1]}, before it was {width}")
        vectors = np.empty_like(listed)
        vectors[places] = listed
        return vectors

    def _hide(self, message: str) -> str:
        """A message without the key, which some servers repeat, and without most of a long one."""
        if self._key:
            message = message.replace(self._key, "***")
        return message[:300]


@dataclass(frozen=True)
class _Failure:
    """Why a request gave nothing: in words, whether to try again, and after how many seconds if that was said."""

    message: str
    for_now: bool
    after: float | None = None


def delay(after: float | None, attempt: int) -> float:
    """Seconds until the next try: what the endpoint asks for, at least what is doubled each time, with chance in it.

    An endpoint that asks for no wait at all, or whose clock is slow, is not to be asked as fast as it answers.
    """
    return max(after or 0.0, min(30.0, 0.5 * 2.0**attempt) * random.uniform(0.5, 1.0))


class _Pace:
    """When the next request may start: requests per minute, and the waiting that the endpoint asks for."""

    def __init__(self, requests_per_minute: float | None) -> None:
        self._gap = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, stop: threading.Event | None) -> None:
        """Return when a request may start."""
        with self._lock:
            start = max(self._next, time.monotonic())
            self._next = start + self._gap
        while (left := start - time.monotonic()) > 0:
            if stop is None:
                time.sleep(left)
            elif stop.wait(left):
                raise InputError("stopped")  # nobody waits for this request any more

    def hold(self, seconds: float) -> None:
        """No request starts before this many seconds have passed."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: following it could carry the texts to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def open_request(request: urllib.request.Request, timeout: float) -> http.client.HTTPResponse:
    """The answer, by a proxy where the environment names one; what is for this machine does not leave it."""
    here = urllib.parse.urlsplit(request.full_url).hostname in LOCAL
    no_proxies = [urllib.request.ProxyHandler({})] if here else []
    opener = urllib.request.build_opener(_NoRedirects, *no_proxies)
    answer: http.client.HTTPResponse = opener.open(request, timeout=timeout)
    return answer


def _plan(texts: Sequence[str], rows: int) -> Iterator[Int64]:
    """Positions for each request, in order."""
    start = characters = 0
    for i, text in enumerate(texts):
        if i > start and (i - start == rows or characters + len(text) > BATCH_CHARACTERS):
            yield np.arange(start, i)
            start, characters = i, 0
        characters += len(text)
    if start < len(texts):
        yield np.arange(start, len(texts))


def check_url(base_url: str) -> str:
    """The base URL in one spelling."""
    try:
        parts = urllib.parse.urlsplit(base_url.strip())
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError as error:
        raise ConfigError(f"the base URL of an endpoint is malformed: {one_line(error)}") from error
    if parts.username is not None or parts.password is not None:
        raise ConfigError("the base URL has a user or password in it; leave it out, and name --key-variable instead")
    if not parts.path.isascii() or re.search(r"[\s\x00-\x1f\x7f]", base_url.strip()):
        raise ConfigError(f"{base_url!r} has spaces or letters that no URL can have; write them as %20 and the like")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{base_url!r} is no base URL of an endpoint; write it as https://HOST/v1")
    if parts.query or parts.fragment:
        raise ConfigError("the base URL of an endpoint has no '?' or '#'; write it as https://HOST/v1")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/embeddings')}"


def _find_key(url: str, options: EncoderOptions) -> str | None:
    named = "key_variable" in options.model_fields_set
    if url != OPENAI and not named:
        return None
    key = read_key(url, options.key_variable)
    if not key:
        raise ConfigError(f"{url} needs a key: set the environment variable {options.key_variable}")
    return key


def read_key(url: str, variable: str) -> str:
    """The key in an environment variable, "" if there is none; ConfigError if it may not be sent to `url`, or is none.

    It goes nowhere without encryption, unless that is this machine.
    """
    key = os.environ.get(variable, "").strip()
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"the environment variable {variable} holds characters that no key can have")
    parts = urllib.parse.urlsplit(url)
    if key and parts.scheme != "https" and parts.hostname not in LOCAL:
        raise ConfigError(f"{url} is not encrypted: the key is not sent there; use https")
    return key


def _message(error: urllib.error.HTTPError) -> str:
    """What the endpoint says about an error, as a suffix; "" if it says nothing."""
    try:
        content = error.read(2**16)
    except (OSError, http.client.HTTPException):
        return ""
    try:
        said = _said(json.loads(content))
    except (ValueError, RecursionError):
        text = content.decode(errors="replace")
        said = "" if text.lstrip().startswith("<") else " ".join(text.split())[:MOST_OF_A_MESSAGE]  # no page of HTML
    return f": {said}" if said else ""


def _said(tree: Any) -> str:
    """The message in an answer that is an error, in the usual spellings; "" if there is none."""
    said = tree.get("error", tree) if isinstance(tree, dict) else tree
    if isinstance(said, dict):
        said = said.get("message") or said.get("detail")
    if isinstance(said, list):  # of what is wrong with a request
        said = "; ".join(one["msg"] for one in said if isinstance(one, dict) and isinstance(one.get("msg"), str))
    return " ".join(said.split()) if isinstance(said, str) else ""


def _reason(error: urllib.error.URLError) -> BaseException:
    return error.reason if isinstance(error.reason, BaseException) else error


def seconds_asked(error: urllib.error.HTTPError) -> float | None:
    """The seconds of the Retry-After header, which may be a date; None if there is none."""
    after = error.headers.get("Retry-After")
    if not after:
        return None
    try:
        return max(0.0, float(after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(after).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
