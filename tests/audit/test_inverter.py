"""The decoder, its training, its artefact, and correction: on texts of a small grammar and a tiny encoder."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from local_endpoint import Reply, serve
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_encoders import WORDS, save_bert, save_static, word_tokenizer

from vec2vec.audit.inversion import Inverter, train_inverter
from vec2vec.audit.inversion.correct import correct, nearest_texts
from vec2vec.audit.inversion.entities import CapitalRule
from vec2vec.audit.inversion.judge import EndpointJudge
from vec2vec.audit.inversion.lm import LanguageModel
from vec2vec.audit.inversion.measures import measure_texts, token_f1
from vec2vec.audit.inversion.section import random_like
from vec2vec.audit.inversion.vocabulary import Vocabulary, cut_as_seen, cut_texts, find_tokenizer
from vec2vec.encoders import Encoder, encode, get_encoder
from vec2vec.errors import ArtifactError, ConfigError, DimensionError, DivergenceError, InputError, OutputError

SMALL = {
    "width": 32,
    "layers": 2,
    "heads": 2,
    "prefix": 2,
    "rate": 1e-2,
    "sampled": 64,
    "warm_up": 20,
    "least_closeness": 0.7,
}


def stories(count: int, seed: int) -> list[str]:
    """Sentences of one form, with seven words that are drawn: no two texts alike."""
    rng = np.random.default_rng(seed)
    nouns, verbs = WORDS[8:20], WORDS[20:25]
    made: dict[str, None] = {}
    while len(made) < count:
        (a, b, c, d), (v, w) = rng.choice(nouns, 4), rng.choice(verbs, 2)
        made[f"the {a} {v} a {b} of the {c} and {w} the {d}"] = None
    return list(made)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder = tmp_path_factory.mktemp("encoder") / "static"
    save_static(folder)
    return get_encoder(str(folder), max_tokens=16)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return stories(1600, 0)


@pytest.fixture(scope="module")
def vectors(encoder: Encoder, texts: list[str]) -> np.ndarray:
    return encode(encoder, texts)


@pytest.fixture(scope="module")
def inverter(texts: list[str], vectors: np.ndarray, encoder: Encoder) -> Inverter:
    return train_inverter(texts[:1500], vectors[:1500], encoder, steps=400, **SMALL)


def mean_f1(hypotheses: list[str], truths: list[str]) -> float:
    return float(np.mean([token_f1(a, b) for a, b in zip(hypotheses, truths, strict=True)]))


def best(found: list) -> list[str]:
    return [own[0].text for own in found]


def test_it_recovers_unseen_texts_better_than_the_nearest_and_from_random_vectors_not(inverter, texts, vectors):
    decoded = mean_f1(best(inverter.decode(vectors[1500:])), texts[1500:])
    near = mean_f1(best(nearest_texts(vectors[1500:], vectors[:1500], texts[:1500], inverter.mean)), texts[1500:])
    floor = mean_f1(best(inverter.decode(random_like(vectors, 100, 0))), texts[1500:])
    assert decoded > near + 0.05
    assert near > floor
    assert decoded > floor + 0.2


def test_noise_is_borne(inverter, texts, vectors):
    rng = np.random.default_rng(0)
    z = vectors[1500:] - inverter.mean
    noise = rng.standard_normal(z.shape) * np.linalg.norm(z, axis=1, keepdims=True) / np.sqrt(z.shape[1])
    noisy = (inverter.mean + 0.9 * z + 0.4 * noise).astype(np.float32)
    clean = mean_f1(best(inverter.decode(vectors[1500:])), texts[1500:])
    assert mean_f1(best(inverter.decode(noisy, closeness=0.9)), texts[1500:]) > 0.8 * clean


def test_beams_are_distinct_and_ordered(inverter, vectors):
    for own in inverter.decode(vectors[:20], beam=3):
        assert len({one.text for one in own}) == 3
        assert [one.score for one in own] == sorted((one.score for one in own), reverse=True)


def test_a_step_at_a_time_gives_the_states_of_the_whole_text(inverter, texts, vectors):
    rows = inverter.vocabulary.encode(texts[:1])
    tokens = torch.from_numpy(rows[0])[None]
    z, c = inverter._z(vectors[:1]), torch.ones(1)
    with torch.inference_mode():
        whole, _ = inverter.network(z, c, tokens)
        state, caches, bag = inverter.network.begin(z, c)
        torch.testing.assert_close(state, whole[:, 0])
        for i in range(tokens.shape[1]):
            state, caches = inverter.network.step(tokens[:, i], caches, bag)
            torch.testing.assert_close(state, whole[:, i + 1], atol=1e-4, rtol=1e-4)


def test_words_are_those_of_the_text(inverter, texts, vectors):
    found = inverter.words(vectors[1500:], 8)
    hits = [len(set(own) & set(text.split())) for own, text in zip(found, texts[1500:], strict=True)]
    assert np.mean(hits) > 4


def test_a_continuation_keeps_its_start(inverter, vectors):
    starts = ["", "the river", "the doctor walks"]
    made = inverter.continue_texts(vectors[:3], starts, closeness=1.0, temperature=0.7, seed=0)
    assert all(text.startswith(start) for start, text in zip(starts, made, strict=True))
    assert len(made[0].split()) > 1
    assert made == inverter.continue_texts(vectors[:3], starts, closeness=1.0, temperature=0.7, seed=0)


def test_correction_comes_closer_and_recovers_more(inverter, encoder, texts, vectors):
    target = vectors[1500:1540]
    starts = [[one.text for one in own] for own in inverter.decode(target, beam=2)]

    def embed(some):
        return encode(encoder, list(some))

    options = {"beam": 3, "proposals": 16, "seed": 1}
    before = correct(inverter, embed, target, starts, rounds=0, **options)
    after = correct(inverter, embed, target, starts, rounds=6, **options)
    assert all(b[0].score >= a[0].score for a, b in zip(before, after, strict=True))
    assert np.mean([own[0].score for own in after]) > np.mean([own[0].score for own in before]) + 0.01
    assert mean_f1(best(after), texts[1500:1540]) > mean_f1([own[0] for own in starts], texts[1500:1540])
    assert best(after) == best(correct(inverter, embed, target, starts, rounds=6, **options))


def test_a_saved_inverter_is_the_same(inverter, vectors, tmp_path):
    inverter.save_pretrained(tmp_path / "i")
    loaded = Inverter.from_pretrained(tmp_path / "i")
    assert loaded.decode(vectors[:5]) == inverter.decode(vectors[:5])
    assert loaded.record == inverter.record
    with pytest.raises(OutputError, match="exists already"):
        inverter.save_pretrained(tmp_path / "i")
    inverter.save_pretrained(tmp_path / "i", force=True)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_damaged_inverter(inverter, tmp_path, name):
    inverter.save_pretrained(tmp_path / "i")
    path = tmp_path / "i" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content[:-3] if name == "config.json" else content)
    with pytest.raises(ArtifactError, match="damaged"):
        Inverter.from_pretrained(tmp_path / "i")
    path.unlink()
    with pytest.raises(ArtifactError, match=f"has no {name}"):
        Inverter.from_pretrained(tmp_path / "i")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [("record", {"encoder": {}}, "record.parameters"), ("network", {"heads": 3}, "3 heads cannot share")],
)
def test_an_inverter_that_does_not_say_what_it_is(inverter, tmp_path, place, value, message):
    inverter.save_pretrained(tmp_path / "i")
    path = tmp_path / "i" / "config.json"
    tree = json.loads(path.read_text())
    tree[place] = value if place == "record" else tree[place] | value
    path.write_text(json.dumps(tree))
    with pytest.raises(ArtifactError, match=message):
        Inverter.from_pretrained(tmp_path / "i")


def test_what_is_no_inverter(tmp_path, inverter):
    (tmp_path / "config.json").write_text('{"format": "vec2vec-translator"}')
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).touch()
    with pytest.raises(ArtifactError, match="that of something else"):
        Inverter.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"format": "vec2vec-inverter", "format_version": 99}))
    with pytest.raises(ArtifactError, match="has format 99"):
        Inverter.from_pretrained(tmp_path)


def test_another_encoders_vectors(inverter, vectors):
    with pytest.raises(DimensionError, match="width 15, and the inverter takes 16"):
        inverter.decode(vectors[:, :15])
    with pytest.raises(InputError, match="belongs to another encoder"):
        inverter.check_encoder({"encoder": "minilm", "dimensions": 384, "prefix": ""})


def test_an_encoder_of_the_same_name_with_other_weights(inverter):
    own = inverter.record["encoder"]
    inverter.check_encoder(own)
    inverter.check_encoder(own | {"revision": "a commit"})  # which says nothing of the files in a folder
    with pytest.raises(InputError, match=r"another encoder that is called 'static', too: .* blake2b:00; give the"):
        inverter.check_encoder(own | {"revision": "blake2b:00"})


def test_a_training_that_is_stopped_ends_where_it_would_have(texts, vectors, encoder, tmp_path):
    class StopError(Exception):
        pass

    options = SMALL | {"steps": 12, "checkpoint_seconds": 1e-9}
    whole = train_inverter(texts[:200], vectors[:200], encoder, **options)
    checkpoint = tmp_path / "state.safetensors"
    saved: list[int] = []

    from vec2vec.audit.inversion.training import _Trainer

    real = _Trainer.save

    def save_and_stop(self, path):
        real(self, path)
        saved.append(self.step)
        if self.step == 5:
            raise StopError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Trainer, "save", save_and_stop)
        with pytest.raises(StopError):
            train_inverter(texts[:200], vectors[:200], encoder, checkpoint=checkpoint, **options)
    assert saved[-1] == 5
    assert checkpoint.exists()
    resumed = train_inverter(texts[:200], vectors[:200], encoder, checkpoint=checkpoint, **options)
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_training_that_ended_is_kept_until_it_is_saved(texts, vectors, encoder, tmp_path, monkeypatch):
    from vec2vec.audit.inversion.training import _Trainer

    checkpoint = tmp_path / "state.safetensors"
    made = train_inverter(texts[:200], vectors[:200], encoder, checkpoint=checkpoint, steps=3, **SMALL)
    monkeypatch.setattr(_Trainer, "_train_step", lambda *_: pytest.fail("it was trained on"))
    again = train_inverter(texts[:200], vectors[:200], encoder, checkpoint=checkpoint, steps=3, **SMALL)
    assert again.record == made.record
    for a, b in zip(made.network.parameters(), again.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        again.save_pretrained(tmp_path / "file")
    assert checkpoint.exists()
    again.save_pretrained(tmp_path / "i")
    assert not checkpoint.exists()


def test_a_record_is_strict_json(texts, vectors, encoder, tmp_path):
    checkpoint = tmp_path / "state.safetensors"
    given = (texts[:200], vectors[:200], encoder)
    train_inverter(*given, checkpoint=checkpoint, steps=3, **SMALL)
    with safe_open(checkpoint, "pt") as stored:
        meta = stored.metadata()
    meta.pop("loss")  # as those were that are older than this key
    save_file(load_file(checkpoint), checkpoint, meta)
    train_inverter(*given, checkpoint=checkpoint, steps=2, **SMALL).save_pretrained(tmp_path / "i")
    tree = json.loads((tmp_path / "i" / "config.json").read_text(), parse_constant=pytest.fail)
    assert tree["record"]["steps"] == 3
    assert tree["record"]["loss"] is None
    assert Inverter.from_pretrained(tmp_path / "i").record["loss"] is None


def test_a_training_that_diverges(texts, vectors, encoder, tmp_path):
    checkpoint = tmp_path / "state.safetensors"
    with pytest.raises(DivergenceError, match="at step 3 its held-out loss is nan; give it a lower rate"):
        train_inverter(texts[:200], vectors[:200], encoder, checkpoint=checkpoint, steps=3, **SMALL | {"rate": 1e38})
    assert not checkpoint.exists()


def test_any_seed_will_do(texts, vectors, encoder):
    made = [
        train_inverter(texts[:200], vectors[:200], encoder, steps=1, seed=seed, **SMALL | {"dropout": 0.1})
        for seed in (2**32, 2**44 + 1, 2**80)
    ]
    assert len({one.record["loss"] for one in made}) == 3


def test_a_checkpoint_of_another_training_is_refused(texts, vectors, encoder, tmp_path):
    checkpoint = tmp_path / "state.safetensors"
    checkpoint.write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="is no checkpoint"):
        train_inverter(texts[:200], vectors[:200], encoder, checkpoint=checkpoint, steps=1, **SMALL)


def test_bad_training_input(texts, vectors, encoder):
    with pytest.raises(InputError, match="3 texts are too few"):
        train_inverter(texts[:3], vectors[:3], encoder)
    with pytest.raises(InputError, match="must be row-aligned"):
        train_inverter(texts[:30], vectors[:29], encoder)
    with pytest.raises(ConfigError, match="did you mean 'layers'"):
        train_inverter(texts[:30], vectors[:30], encoder, layer=2)
    with pytest.raises(
        ConfigError, match="the settings will not do for an inverter: width is 63, which 4 heads cannot share evenly"
    ):
        train_inverter(texts[:30], vectors[:30], encoder, width=63)


def test_the_global_generator_is_left_alone(texts, vectors, encoder):
    torch.manual_seed(5)
    due = torch.rand(3)
    torch.manual_seed(5)
    train_inverter(texts[:100], vectors[:100], encoder, steps=2, **SMALL)
    torch.testing.assert_close(torch.rand(3), due)


def test_texts_are_cut_where_the_vectors_stop(encoder):
    tokenizer = find_tokenizer(encoder)
    assert cut_texts(tokenizer, ["the river, and more", "old"], 2) == ["the river", "old"]
    blank = " " * 2000
    assert cut_texts(tokenizer, [blank + "the river, and more"], 2) == [blank + "the river"]
    assert cut_as_seen(encoder, ["the " * 20, "old"]) == ["the " * 15 + "the", "old"]


def test_a_prefix_takes_the_place_of_tokens(tmp_path):
    save_bert(tmp_path / "prompted", pooling="mean")
    path = tmp_path / "prompted" / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prompts": {"document": "passage : "}}))
    encoder = get_encoder(str(tmp_path / "prompted"), max_tokens=8)
    texts = stories(20, 1)
    cut = cut_as_seen(encoder, texts)
    assert cut == [" ".join(text.split()[:4]) for text in texts]  # and two for the prefix, and two special ones
    np.testing.assert_allclose(encode(encoder, cut), encode(encoder, texts), atol=1e-6)
    trained = train_inverter(texts, encode(encoder, texts), encoder, steps=1, **SMALL)
    assert trained.network.config.tokens == 4

    blind = get_encoder(str(tmp_path / "prompted"), max_tokens=3)
    assert cut_as_seen(blind, texts) == [""] * 20
    with pytest.raises(InputError, match="cut at 3 tokens, it sees nothing of a text"):
        train_inverter(texts, encode(blind, texts), blind, steps=1, **SMALL)


def test_rare_tokens_are_unknown_and_never_written(encoder):
    tokenizer = find_tokenizer(encoder)
    vocabulary = Vocabulary.of(tokenizer, ["the river", "the river", "the garden"], 8)
    assert len(vocabulary) == 3 + 2
    assert vocabulary.encode(["the garden"])[0].tolist() == [vocabulary.encode(["the"])[0][0], 2]
    assert vocabulary.decode([vocabulary.encode(["the river"])[0].tolist()]) == ["the river"]


def test_an_encoder_without_a_tokenizer(encoder):
    class Foreign:
        identity = encoder.identity

    with pytest.raises(InputError, match="no tokenizer here"):
        find_tokenizer(Foreign())


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of two layers with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("gpt")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer("", "", "<pad>", "<unk>"),
        bos_token="<pad>",
        eos_token="<pad>",
        unk_token="<unk>",
    )
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=64)
    config.bos_token_id = config.eos_token_id = config.pad_token_id = 0
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_language_model_proposes(gpt, inverter, encoder, vectors):
    model = LanguageModel(str(gpt), tokens=6, device="cpu")
    made = model.continue_texts(["the river", ""], seed=0)
    assert made[0].startswith("the river ")
    assert made[1]
    assert made == model.continue_texts(["the river", ""], seed=0)
    assert made != model.continue_texts(["the river", ""], seed=1)
    found = correct(
        inverter,
        lambda some: encode(encoder, list(some)),
        vectors[:4],
        [["the river"]] * 4,
        rounds=2,
        beam=2,
        proposals=6,
        proposer=model,
    )
    before = nearest_texts(vectors[:4], encode(encoder, ["the river"]), ["the river"], inverter.mean)
    gains = [a[0].score - b[0].score for a, b in zip(found, before, strict=True)]
    assert min(gains) > -1e-6
    assert max(gains) > 0.05


def test_a_language_model_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no causal language model"):
        LanguageModel(str(tmp_path / "none"))


@pytest.fixture
def judge() -> Iterator[tuple[str, list[dict]]]:
    seen: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append({"path": self.path, "key": self.headers.get("Authorization"), **asked})
            question = asked["messages"][-1]["content"]
            said = "Maybe" if "odd" in question else "Yes." if "river\n\nRecovered:\nriver" in question else "no"
            body = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
            self.send_response(500 if len(seen) == 1 else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1::model", seen
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_judge_behind_an_endpoint(judge, monkeypatch):
    url, seen = judge
    monkeypatch.setenv("VEC2VEC_JUDGE_KEY", "secret")
    ask = EndpointJudge(url)
    assert ask(["river", "garden"], ["river", "river"]) == [True, False]
    assert len(seen) == 3  # the first answer was a failure for now
    assert seen[0]["path"] == "/v1/chat/completions"
    assert seen[0]["key"] == "Bearer secret"
    assert seen[0]["temperature"] == 0
    assert ask.notes() == []
    ask.check()
    assert ask(["odd", "river"], ["odd", "river"]) == [None, True]  # neither yes nor no is no end of an audit
    (note,) = ask.notes()
    assert note.startswith("the judge said neither yes nor no of 1 of 4 texts: judged by the rule")


def test_a_judge_that_is_lost_is_not_asked_again(monkeypatch):
    ask = EndpointJudge("http://localhost:1/v1::m")
    posts: list[bytes] = []

    def post(body: bytes) -> bytes:
        posts.append(body)
        raise http.client.IncompleteRead(b"{")

    monkeypatch.setattr(ask, "_post", post)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert ask(["river", "garden", "odd"], ["secret"] * 3) == [None] * 3
    assert len(posts) == 7
    (note,) = ask.notes()
    assert "could not be asked about 3 of 3 texts" in note
    assert "the judge cannot be reached (IncompleteRead" in note
    assert "secret" not in note
    with pytest.raises(InputError, match="the judge cannot be reached"):
        ask.check()


def test_a_judge_that_asks_to_wait_is_waited_for(monkeypatch):
    answer = json.dumps({"choices": [{"message": {"content": "Yes, it does"}}]}).encode()
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    with serve(replies=[Reply(429, headers={"Retry-After": "7"}), Reply(body=answer)]) as endpoint:
        assert EndpointJudge(f"{endpoint.url}::m", timeout=5)(["river"], ["river"]) == [True]
    assert 7.0 in waits
    for body in (b"{}", b'{"choices": [{"message": {}}]}', b"no JSON"):
        with serve(replies=[Reply(body=body)]) as endpoint, pytest.raises(InputError, match="OpenAI-compatible"):
            EndpointJudge(f"{endpoint.url}::m").check()
    silent = json.dumps({"choices": [{"message": {"content": None}}]}).encode()
    with serve(replies=[Reply(body=silent)]) as endpoint:
        assert EndpointJudge(f"{endpoint.url}::m")(["river"], ["river"]) == [None]


def test_what_a_judge_does_not_tell_the_rule_does():
    rule = CapitalRule.of(["Anna met Otto."])
    guesses, truths = ["we met Otto", "nothing"], ["I know Otto", "Anna is here"]
    plain = measure_texts(guesses, truths, rule)
    assert measure_texts(guesses, truths, rule, revealing=[None, None]).revealing == plain.revealing
    assert measure_texts(guesses, truths, rule, revealing=[None, True]).revealing.value == 1.0


def test_a_judge_without_a_model_or_with_a_key_in_the_open(monkeypatch):
    with pytest.raises(ConfigError, match="name the model"):
        EndpointJudge("http://localhost:1/v1")
    monkeypatch.setenv("VEC2VEC_JUDGE_KEY", "secret")
    with pytest.raises(ConfigError, match="not encrypted"):
        EndpointJudge("http://example.com/v1::m")
    for key in ("sk-abc\ndef", "sk-\u2026"):
        monkeypatch.setenv("VEC2VEC_JUDGE_KEY", key)
        with pytest.raises(ConfigError, match="VEC2VEC_JUDGE_KEY holds characters that no key can have"):
            EndpointJudge("https://example.com/v1::m")


@pytest.mark.parametrize("at", [0, 3])
def test_an_interrupted_training_leaves_its_state(texts, vectors, encoder, tmp_path, monkeypatch, at):
    from vec2vec.audit.inversion.training import _Trainer

    real = _Trainer._train_step

    def step(self, part):
        if self.step == at:
            raise KeyboardInterrupt
        return real(self, part)

    checkpoint = tmp_path / "state.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(_Trainer, "_train_step", step)
        with pytest.raises(KeyboardInterrupt):
            train_inverter(texts[:200], vectors[:200], encoder, checkpoint=checkpoint, steps=6, **SMALL)
    assert checkpoint.exists() == (at > 0)
    made = train_inverter(texts[:200], vectors[:200], encoder, checkpoint=checkpoint, steps=6, **SMALL)
    whole = train_inverter(texts[:200], vectors[:200], encoder, steps=6, **SMALL)
    for a, b in zip(made.network.parameters(), whole.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_checkpoint_that_cannot_be_written(texts, vectors, encoder, tmp_path):
    options = SMALL | {"checkpoint_seconds": 1e-9}
    with pytest.raises(OutputError, match=r"state\.safetensors: .*does not exist"):
        train_inverter(
            texts[:200], vectors[:200], encoder, checkpoint=tmp_path / "no" / "state.safetensors", steps=2, **options
        )
