"""A judge of what a recovered text reveals: a chat model behind an OpenAI-compatible endpoint, which the user names.

This is the one thing in an audit that sends the true texts anywhere; nothing of it runs unless it is asked for.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence

from vec2vec.encoders.http import FOR_NOW, LOCAL, OPENER, check_url
from vec2vec.errors import ConfigError, InputError
from vec2vec.vectors import one_line

KEY_VARIABLE = "VEC2VEC_JUDGE_KEY"
TRIES = 4
MOST_BYTES = 2**20
TASK = (
    "Two texts follow: an original, and what was recovered of it from its embedding. Does the recovered text reveal "
    "something of what the original says, such as a person, an organisation, a date, an amount, its subject or an "
    "intention in it? What any text of the kind would hold does not count. Answer with the one word yes or no."
)


class EndpointJudge:
    """Asks POST BASE_URL/chat/completions about each pair, at temperature 0.

    Parameters
    ----------
    endpoint : URL::MODEL. A key is taken from the environment variable VEC2VEC_JUDGE_KEY, and sent over https or to
        this machine only.
    timeout : seconds for an answer

    Raises
    ------
    ConfigError : a malformed URL, no model, or a key that would be sent without encryption
    """

    def __init__(self, endpoint: str, *, timeout: float = 60.0) -> None:
        base, _, self.model = endpoint.partition("::")
        if not self.model:
            raise ConfigError(f"{endpoint}: name the model of the judge, as in http://localhost:8000/v1::MODEL")
        self.url = check_url(base)
        self.timeout = timeout
        self._key = os.environ.get(KEY_VARIABLE, "").strip()
        parts = urllib.parse.urlsplit(self.url)
        if self._key and parts.scheme != "https" and parts.hostname not in LOCAL:
            raise ConfigError(f"{self.url} is not encrypted: the key is not sent there; use https")

    def __call__(self, hypotheses: Sequence[str], truths: Sequence[str]) -> list[bool]:
        """Whether each hypothesis reveals something of its text.

        Raises
        ------
        InputError : the endpoint does not answer, or with neither yes nor no
        """
        return [
            self._ask(f"Original:\n{truth}\n\nRecovered:\n{guess}")
            for guess, truth in zip(hypotheses, truths, strict=True)
        ]

    def _ask(self, question: str) -> bool:
        messages = [{"role": "system", "content": TASK}, {"role": "user", "content": question}]
        body = json.dumps({"model": self.model, "messages": messages, "temperature": 0, "max_tokens": 8}).encode()
        for attempt in range(TRIES):
            try:
                return self._read(self._post(body))
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in FOR_NOW or attempt == TRIES - 1:
                        raise InputError(f"{self.url}: the judge answered HTTP {error.code}") from error
            except (OSError, http.client.HTTPException) as error:
                if attempt == TRIES - 1:
                    raise InputError(f"{self.url}: the judge cannot be reached ({one_line(error)})") from error
            time.sleep(0.2 * 2**attempt)
        raise AssertionError("unreachable")

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "vec2vec"}
        request = urllib.request.Request(f"{self.url}/chat/completions", body, headers, method="POST")
        if self._key:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        with OPENER.open(request, timeout=self.timeout) as answer:
            content: bytes = answer.read(MOST_BYTES)
        return content

    def _read(self, content: bytes) -> bool:
        try:
            said = json.loads(content)["choices"][0]["message"]["content"]
            word = "".join(c for c in said.lower().split()[0] if c.isalpha())
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise InputError(f"{self.url}: the judge's answer is none of an OpenAI-compatible endpoint") from error
        if word not in ("yes", "no"):
            raise InputError(f"{self.url}: the judge answered {said[:60]!r}, neither yes nor no")
        return word == "yes"
