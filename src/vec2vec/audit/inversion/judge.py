"""A judge of what a recovered text reveals: a chat model behind an OpenAI-compatible endpoint, which the user names.

This is the one thing in an audit that sends the true texts anywhere; nothing of it runs unless it is asked for.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from vec2vec.encoders.http import FOR_NOW, LONGEST_WAIT, check_url, delay, open_request, read_key, seconds_asked
from vec2vec.errors import ConfigError, InputError
from vec2vec.vectors import one_line

KEY_VARIABLE = "VEC2VEC_JUDGE_KEY"
TRIES = 7
MOST_BYTES = 2**20
TASK = (
    "Two texts follow: an original, and what was recovered of it from its embedding. Does the recovered text reveal "
    "something of what the original says, such as a person, an organisation, a date, an amount, its subject or an "
    "intention in it? What any text of the kind would hold does not count. Answer with the one word yes or no."
)


class EndpointJudge:
    """Asks POST BASE_URL/chat/completions about each pair, at temperature 0.

    An audit does not end for want of an answer: what the judge does not tell is counted, and left to the rule that it
    stands in for. One that cannot be asked any more is not asked again.

    Parameters
    ----------
    endpoint : URL::MODEL. A key is taken from the environment variable VEC2VEC_JUDGE_KEY, and sent over https or to
        this machine only.
    timeout : seconds for an answer

    Attributes
    ----------
    asked : texts so far
    unclear : of them, those that it answered with neither yes nor no
    lost : of them, those that it could not be asked about any more
    failure : why; None while it can

    Raises
    ------
    ConfigError : a malformed URL, no model, or a key that is none, or would be sent without encryption
    """

    def __init__(self, endpoint: str, *, timeout: float = 60.0) -> None:
        base, _, self.model = endpoint.partition("::")
        if not self.model:
            raise ConfigError(f"{endpoint}: name the model of the judge, as in http://localhost:8000/v1::MODEL")
        self.url = check_url(base)
        self.timeout = timeout
        self.asked = self.unclear = self.lost = 0
        self.failure: str | None = None
        self._key = read_key(self.url, KEY_VARIABLE)

    def check(self) -> None:
        """Ask about two words; InputError if there is no answer: before the work, not after it."""
        self._ask("river", "garden")

    def __call__(self, hypotheses: Sequence[str], truths: Sequence[str]) -> list[bool | None]:
        """Whether each hypothesis reveals something of its text; None where the judge does not tell."""
        return [self._judged(guess, truth) for guess, truth in zip(hypotheses, truths, strict=True)]

    def notes(self) -> list[str]:
        """What a reader of its judgements has to know."""
        rule = "judged by the rule in its place"
        notes = []
        if self.unclear:
            notes.append(f"the judge said neither yes nor no of {self.unclear:,} of {self.asked:,} texts: {rule}")
        if self.lost:
            notes.append(
                f"the judge could not be asked about {self.lost:,} of {self.asked:,} texts ({self.failure}): {rule}"
            )
        return notes

    def _judged(self, guess: str, truth: str) -> bool | None:
        self.asked += 1
        if self.failure is None:
            try:
                found = self._ask(guess, truth)
            except InputError as error:
                self.failure = str(error)
            else:
                self.unclear += found is None
                return found
        self.lost += 1
        return None

    def _ask(self, guess: str, truth: str) -> bool | None:
        question = f"Original:\n{truth}\n\nRecovered:\n{guess}"
        messages = [{"role": "system", "content": TASK}, {"role": "user", "content": question}]
        body = json.dumps({"model": self.model, "messages": messages, "temperature": 0, "max_tokens": 8}).encode()
        for attempt in range(TRIES):
            after = None
            try:
                return self._read(self._post(body))
            except urllib.error.HTTPError as error:
                with error:
                    after = seconds_asked(error)
                    failure = InputError(f"{self.url}: the judge answered HTTP {error.code}")
                    if error.code not in FOR_NOW or (after or 0.0) > LONGEST_WAIT:
                        raise failure from error
            except (OSError, http.client.HTTPException) as error:
                failure = InputError(f"{self.url}: the judge cannot be reached ({one_line(error)})")
            if attempt < TRIES - 1:
                time.sleep(delay(after, attempt))
        raise failure

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "vec2vec"}
        request = urllib.request.Request(f"{self.url}/chat/completions", body, headers, method="POST")
        if self._key:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        with open_request(request, self.timeout) as answer:
            return answer.read(MOST_BYTES)

    def _read(self, content: bytes) -> bool | None:
        """Yes or no; None for anything else, which may repeat the text: it is never quoted."""
        try:
            said = json.loads(content)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise InputError(f"{self.url}: the judge's answer is none of an OpenAI-compatible endpoint") from error
        words = said.lower().split() if isinstance(said, str) else []
        return {"yes": True, "no": False}.get("".join(filter(str.isalpha, words[0])) if words else "")
