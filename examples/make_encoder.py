"""Make an encoder of your own from a file of texts: word vectors by counting, saved as a model2vec model.

``python examples/make_encoder.py texts.jsonl my-encoder`` learns from the texts alone which words stand near which:
latent semantic analysis, the singular vectors of the TF-IDF matrix of texts and words. A text's vector is the mean of
its words'. It needs neither a GPU nor any other model, and what it writes is loaded by ``--encoder ./my-encoder``.
Needs model2vec (the ``[static]`` extra).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from model2vec import StaticModel
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from vec2vec.datasets import open_corpus

UNKNOWN = "[UNK]"


def make(texts: list[str], width: int, seed: int) -> StaticModel:
    """A static model: word vectors are the words' singular vectors, scaled by singular value and rarity."""
    words = TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=True)
    matrix = words.fit_transform(texts)
    width = min(width, matrix.shape[1] - 1)
    svd = TruncatedSVD(width, n_iter=7, random_state=seed).fit(matrix)
    # a text is mapped as TF-IDF does it, so that the vectors of rare words are the longer ones
    vectors = (svd.components_ * words.idf_).T
    vocabulary = {UNKNOWN: 0} | {word: i + 1 for word, i in words.vocabulary_.items()}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    table = np.concatenate([np.zeros((1, width)), vectors]).astype(np.float32)
    return StaticModel(table, tokenizer, normalize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", help="a file of texts, as `vec2vec embed` takes it")
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = make([record.text for record in open_corpus(args.texts).records()], args.width, args.seed)
    model.save_pretrained(args.out)
    print(f"an encoder of {len(model.tokens):,} words, {model.dim} dimensions, written to {args.out}")


if __name__ == "__main__":
    main()
