"""Encoders behind an endpoint, against a real server on this machine."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest
from local_endpoint import Endpoint, Reply, serve, vector_of

from vec2vec.encoders import encode, get_encoder
from vec2vec.errors import ConfigError, DimensionError, InputError

TEXTS = [f"text number {i}" for i in range(50)]
KEY = "sk-secret-0123456789"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serve() as state:
        yield state


def connect(endpoint: Endpoint, **options: Any) -> Any:
    """The encoder, its probe already answered; what the server saw of that is forgotten."""
    replies, endpoint.replies = endpoint.replies, []
    encoder = get_encoder("model-1", base_url=endpoint.url, **options)
    for seen in (endpoint.requests, endpoint.keys, endpoint.times):
        seen.clear()
    endpoint.replies = replies
    return encoder


def expected(texts: list[str], width: int = 8) -> np.ndarray:
    return np.stack([vector_of(text, width) for text in texts])


def test_vectors_are_those_of_the_endpoint_in_order(endpoint: Endpoint) -> None:
    encoder = connect(endpoint, batch_rows=7)
    np.testing.assert_array_equal(encode(encoder, TEXTS), expected(TEXTS))
    assert [len(request["input"]) for request in endpoint.requests].count(7) == 7
    assert sorted(endpoint.texts) == sorted(TEXTS)
    assert all(r["model"] == "model-1" and r["encoding_format"] == "float" for r in endpoint.requests)
    assert set(endpoint.paths) == {"/v1/embeddings"}
    assert encoder.identity.endpoint == endpoint.url


@pytest.mark.parametrize("suffix", ["", "/", "/embeddings"])
def test_the_url_may_name_the_model(endpoint: Endpoint, suffix: str) -> None:
    encoder = get_encoder(f"{endpoint.url}{suffix}::model-1")
    assert encoder.identity.encoder == "model-1"
    np.testing.assert_array_equal(encode(encoder, TEXTS[:3]), expected(TEXTS[:3]))


def test_dimensions_are_asked_for(endpoint: Endpoint) -> None:
    encoder = connect(endpoint, dimensions=4)
    assert encode(encoder, TEXTS[:3]).shape == (3, 4)
    assert endpoint.requests[0]["dimensions"] == 4


def test_dimensions_that_are_not_given_are_an_error(endpoint: Endpoint) -> None:
    vectors = {"data": [{"index": 0, "embedding": [1.0] * 8}]}
    endpoint.replies = [Reply(body=json.dumps(vectors).encode())]
    with pytest.raises(InputError, match="8 dimensions, 4 were asked for"):
        get_encoder("m", base_url=endpoint.url, dimensions=4)


def test_prefixes_of_a_known_model_are_put_before_texts(endpoint: Endpoint) -> None:
    encoder = get_encoder("intfloat/e5-base-v2", base_url=endpoint.url, prompt="query")
    np.testing.assert_array_equal(encode(encoder, ["a"]), expected(["query: a"]))
    assert encoder.identity.prefix == "query: "


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_what_fails_for_now_is_tried_again(endpoint: Endpoint, status: int) -> None:
    endpoint.replies = [Reply(status, b'{"error": {"message": "later"}}', {"Retry-After": "0"})] * 3
    np.testing.assert_array_equal(encode(connect(endpoint), TEXTS[:5]), expected(TEXTS[:5]))
    assert len(endpoint.requests) == 4


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(endpoint: Endpoint, form: str) -> None:
    when = "0.6" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
    endpoint.replies = [Reply(429, b"", {"Retry-After": when})]
    encode(connect(endpoint), TEXTS[:2])
    first, second = endpoint.times
    assert second - first >= (0.6 if form == "seconds" else 0.9)


def test_the_wait_doubles_without_retry_after(endpoint: Endpoint) -> None:
    endpoint.replies = [Reply(500)] * 3
    encode(connect(endpoint), TEXTS[:2])
    gaps = np.diff(endpoint.times)
    assert gaps[0] >= 0.25
    assert gaps[2] >= 1.0


def test_a_wait_of_an_hour_is_not_waited(endpoint: Endpoint) -> None:
    endpoint.replies = [Reply(429, b"", {"Retry-After": "3600"})]
    with pytest.raises(InputError, match=r"HTTP 429; it asks to wait 3,600 s; what was embedded so far is kept"):
        encode(connect(endpoint), TEXTS[:2])


def test_it_gives_up_after_the_retries(endpoint: Endpoint) -> None:
    endpoint.replies = [Reply(503, b"", {"Retry-After": "0"})] * 9
    with pytest.raises(InputError, match=r"2 texts\): HTTP 503; gave up after 3 tries"):
        encode(connect(endpoint, retries=2), TEXTS[:2])
    assert len(endpoint.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_fails_for_good_is_not_tried_again(endpoint: Endpoint, status: int) -> None:
    endpoint.replies = [Reply(status, b'{"error": {"message": "no such\\nmodel"}}')]
    with pytest.raises(InputError, match=f"HTTP {status}: no such model$"):
        encode(connect(endpoint), TEXTS[:2])
    assert len(endpoint.requests) == 1


def test_a_redirect_is_not_followed(endpoint: Endpoint) -> None:
    endpoint.replies = [Reply(307, b"", {"Location": f"{endpoint.url}/elsewhere"})]
    with pytest.raises(InputError, match="HTTP 307"):
        encode(connect(endpoint), TEXTS[:2])
    assert len(endpoint.requests) == 1


def test_a_timeout_is_tried_again_and_then_an_error(endpoint: Endpoint) -> None:
    encoder = connect(endpoint, timeout=0.2, retries=1)
    endpoint.replies = [Reply(delay=0.6)]
    np.testing.assert_array_equal(encode(encoder, TEXTS[:2]), expected(TEXTS[:2]))
    endpoint.replies = [Reply(delay=0.6)] * 2
    with pytest.raises(InputError, match=r"no answer within 0\.2 s; gave up after 2 tries"):
        encode(encoder, TEXTS[:2])


def test_a_broken_connection_is_tried_again(endpoint: Endpoint) -> None:
    endpoint.replies = [Reply(body=b'{"data": [', broken=True)]
    np.testing.assert_array_equal(encode(connect(endpoint), TEXTS[:2]), expected(TEXTS[:2]))


def test_a_server_that_is_not_there() -> None:
    with serve() as endpoint:
        url = endpoint.url
    with pytest.raises(InputError, match=r"cannot be reached \(.*refused.*\); gave up after 1 tries"):
        get_encoder("m", base_url=url, retries=0)


ONE = {"index": 0, "embedding": [1.0] * 8}
TWO = {"index": 1, "embedding": [2.0] * 8}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"<html>welcome</html>", "not JSON"),
        (b"[1, 2]", "without a list 'data'"),
        ({"data": None}, "without a list 'data'"),
        ({"data": [1, 2]}, "without a list 'data'"),
        ({"data": [ONE]}, "1 vectors for 2 texts"),
        ({"data": [ONE, ONE]}, "indices that are not those"),
        ({"data": [ONE, TWO | {"index": "1"}]}, "indices that are not those"),
        ({"data": [ONE, {"index": 1}]}, "no vectors of one width"),
        ({"data": [ONE, TWO | {"embedding": [1.0]}]}, "no vectors of one width"),
        ({"data": [ONE, TWO | {"embedding": "AACAPw=="}]}, "no vectors of one width"),
        ({"data": [ONE, TWO | {"embedding": [None] * 8}]}, "no .*vectors"),
        ({"data": [ONE | {"embedding": []}, TWO | {"embedding": []}]}, "no finite vectors"),
        (b'{"data": [{"embedding": [NaN]}, {"embedding": [1]}]}', "no finite vectors"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_malformed_answers(endpoint: Endpoint, answer: Any, message: str) -> None:
    endpoint.replies = [Reply(body=answer if isinstance(answer, bytes) else json.dumps(answer).encode())]
    with pytest.raises(InputError, match=message) as caught:
        encode(connect(endpoint), TEXTS[:2])
    assert "\n" not in str(caught.value)
    assert len(endpoint.requests) == 1


def test_another_width_than_before_is_an_error(endpoint: Endpoint) -> None:
    data = {"data": [entry | {"embedding": [1.0] * 5} for entry in (ONE, TWO)]}
    endpoint.replies = [Reply(body=json.dumps(data).encode())]
    with pytest.raises(DimensionError, match="width 5, before it was 8"):
        encode(connect(endpoint), TEXTS[:2])


def test_indices_may_be_missing(endpoint: Endpoint) -> None:
    data = {"data": [{"embedding": [float(i)] * 8} for i in range(2)]}
    endpoint.replies = [Reply(body=json.dumps(data).encode())]
    assert encode(connect(endpoint), TEXTS[:2])[:, 0].tolist() == [0, 1]


def test_requests_run_beside_each_other_within_the_bound(endpoint: Endpoint) -> None:
    endpoint.delay = 0.1
    encoder = connect(endpoint, batch_rows=5, concurrency=3)
    endpoint.most = 0
    start = time.monotonic()
    encode(encoder, TEXTS)
    assert endpoint.most == 3
    assert time.monotonic() - start < 0.9  # ten requests of 0.1 s


def test_requests_per_minute(endpoint: Endpoint) -> None:
    encode(connect(endpoint, batch_rows=10, requests_per_minute=600), TEXTS)
    assert np.diff(sorted(endpoint.times)).min() > 0.08


def test_long_texts_are_spread_over_requests(endpoint: Endpoint) -> None:
    texts = [f"{i} " + "x" * 90_000 for i in range(5)]
    np.testing.assert_array_equal(encode(connect(endpoint), texts), expected(texts))
    assert max(len(request["input"]) for request in endpoint.requests) == 2


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return KEY


def test_the_key_goes_only_where_it_is_meant_to(endpoint: Endpoint, key: str) -> None:
    get_encoder("m", base_url=endpoint.url)
    assert endpoint.keys == [None]  # OPENAI_API_KEY is OpenAI's
    get_encoder("m", base_url=endpoint.url, key_variable="OPENAI_API_KEY")
    assert endpoint.keys == [None, f"Bearer {KEY}"]


def test_the_key_is_in_no_error_and_no_record(endpoint: Endpoint, key: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    encoder = connect(endpoint, key_variable="OPENAI_API_KEY", retries=0)
    said = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}."}}).encode()
    endpoint.replies = [Reply(401, said), Reply(500, said)]
    for _ in range(2):
        with pytest.raises(InputError, match=r"HTTP (401|500): Incorrect API key provided: \*\*\*\.") as caught:
            encode(encoder, TEXTS[:2])
        assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in json.dumps(encoder.identity.to_dict()) + repr(encoder.identity) + repr(encoder) + caplog.text


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("openai:m", {}, "https://api.openai.com/v1 needs a key: set the environment variable OPENAI_API_KEY"),
        ("m", {"base_url": "http://localhost:1/v1", "key_variable": "NO_SUCH"}, "needs a key: .* NO_SUCH"),
        ("m", {"base_url": "http://user:pass@localhost/v1"}, "user or password"),
        ("m", {"base_url": "ftp://user:pass@localhost/a b"}, "user or password"),
        ("m", {"base_url": "http://localhost/v1?key=1"}, "no '\\?'"),
        ("m", {"base_url": "localhost:8000"}, "is no base URL"),
        ("m", {"base_url": "http://localhost:x/v1"}, "malformed"),
        ("http://localhost/v1", {}, "name the model"),
        ("http://localhost/v1::m", {"base_url": "http://localhost/v1"}, "leave out --base-url"),
        ("openai:", {}, "name the model"),
    ],
)
def test_settings_that_will_not_do(
    name: str, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=message) as caught:
        get_encoder(name, **options)
    assert "pass@" not in str(caught.value)


def test_a_key_is_not_sent_in_the_clear(key: str) -> None:
    with pytest.raises(ConfigError, match="not encrypted"):
        get_encoder("m", base_url="http://198.51.100.1/v1", key_variable="OPENAI_API_KEY")


@pytest.mark.parametrize("bad", ["a\nb", "schlüssel"])
def test_a_key_that_is_none(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", bad)
    with pytest.raises(ConfigError, match="no key can have") as caught:
        get_encoder("openai:m")
    assert bad not in str(caught.value)


@pytest.mark.parametrize("after", ["0", "Mon, 02 Nov 2020 08:00:00 GMT"])
def test_an_endpoint_that_asks_for_no_wait_is_not_asked_as_fast_as_it_answers(endpoint: Endpoint, after: str) -> None:
    endpoint.replies = [Reply(429, b"", {"Retry-After": after})] * 2
    encode(connect(endpoint), TEXTS[:2])
    gaps = np.diff(endpoint.times)
    assert gaps[0] >= 0.25
    assert gaps[1] >= 0.5


def test_what_is_for_this_machine_goes_by_no_proxy(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        encode(connect(endpoint), TEXTS[:2])
        assert not proxy.requests
        assert len(endpoint.requests) == 1
        proxy.replies = [Reply(404)]
        with pytest.raises(InputError, match="HTTP 404"):  # elsewhere it serves
            get_encoder("m", base_url="http://example.invalid/v1")
        assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/\u00e9/v1",
        "http://a..de/v1",
        f"http://{'a' * 70}.de/v1",
        "http://127.0.0.1/a b",
        "http://a b/v1",
    ],
)
def test_urls_that_nothing_can_be_sent_to(url: str) -> None:
    with pytest.raises(ConfigError, match=r"malformed|no URL can have"):
        get_encoder("m", base_url=url)


def test_a_timeout_that_no_clock_can_count(endpoint: Endpoint) -> None:
    with pytest.raises(ConfigError, match="timeout"):
        get_encoder("m", base_url=endpoint.url, timeout=1e12)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(400, b"no such\nmodel: m"), "HTTP 400: no such model: m$"),
        (
            Reply(422, b'{"detail": [{"msg": "too long", "loc": ["input"]}, {"msg": "odd"}]}'),
            "HTTP 422: too long; odd$",
        ),
        (Reply(502, b"<html><body>Bad gateway</body></html>"), "HTTP 502; gave up"),
        (Reply(200, b'{"error": {"message": "the model is loading"}}'), "but: the model is loading; is it OpenAI"),
    ],
)
def test_what_an_endpoint_says_is_told(endpoint: Endpoint, reply: Reply, message: str) -> None:
    endpoint.replies = [reply]
    with pytest.raises(InputError, match=message):
        encode(connect(endpoint, retries=0), TEXTS[:2])
