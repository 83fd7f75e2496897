"""Tiny models with random weights, saved as the libraries save theirs: what the encoders are tested with."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Whitespace
from tokenizers.processors import TemplateProcessing

VOCABULARY = (
    "the a of and old new red green river house garden winter summer doctor teacher child story film music train "
    "walks sees writes finds remembers quickly slowly never always query passage search document :"
)
WORDS = VOCABULARY.split()


def sentences(count: int = 40, *, longest: int = 30) -> list[str]:
    """Sentences of 1 to `longest` words, no two alike."""
    generator = torch.Generator().manual_seed(5)
    made: dict[str, None] = {}
    while len(made) < count:
        length = int(torch.randint(1, longest + 1, (1,), generator=generator))
        words = [WORDS[i] for i in torch.randint(len(WORDS) - 5, (length,), generator=generator)]
        made[" ".join(words)] = None
    return list(made)


def word_tokenizer(first: str, last: str, pad: str, unknown: str) -> Tokenizer:
    """A word a token, between the two special tokens ("" for none)."""
    special = [token for token in (pad, first, last, unknown) if token]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate([*special, *WORDS])}, unk_token=unknown))
    tokenizer.pre_tokenizer = Whitespace()
    if last:
        template = f"{first} $A {last}".strip()
        marks = [(token, tokenizer.token_to_id(token)) for token in (first, last) if token]
        tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=marks)
    return tokenizer


def save_bert(folder: Path, *, pooling: str, normalize: bool = True, max_tokens: int = 64) -> None:
    """A BERT of width 32 as a folder of sentence-transformers."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as models
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer("[CLS]", "[SEP]", "[PAD]", "[UNK]"),
        cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", model_max_length=max_tokens,
    )  # fmt: skip
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=max_tokens,
    )  # fmt: skip
    body = save_body(folder, BertModel(config), tokenizer, max_tokens)
    modules = [body, models.Pooling(32, pooling_mode=pooling), *([models.Normalize()] if normalize else [])]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))


def save_t5(folder: Path) -> None:
    """What GTR is made of: a T5 encoder, mean pooling, a dense layer without bias or activation, norm 1."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as models
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer("", "</s>", "<pad>", "<unk>"),
        eos_token="</s>", pad_token="<pad>", unk_token="<unk>", model_max_length=64,
    )  # fmt: skip
    torch.manual_seed(2)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, pad_token_id=0,
        eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    body = save_body(folder, T5EncoderModel(config), tokenizer, 64)
    dense = models.Dense(32, 24, bias=False, activation_function=torch.nn.Identity())
    modules = [body, models.Pooling(32, pooling_mode="mean"), dense, models.Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))


def save_clip(folder: Path) -> None:
    """A CLIP with both its towers, laid out as clip-ViT-B-32 is: modules.json with the one module CLIPModel."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast

    alphabet = sorted(ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*alphabet, *(a + "</w>" for a in alphabet)])}
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[token] = len(vocabulary)
    inner = folder / "0_CLIPModel"
    inner.mkdir(parents=True)
    (inner / "vocab.json").write_text(json.dumps(vocabulary))
    (inner / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizerFast.from_pretrained(inner, model_max_length=77)
    image = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image, tokenizer).save_pretrained(inner)
    end = vocabulary["<|endoftext|>"]
    torch.manual_seed(3)
    common = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = CLIPConfig(
        text_config=common | {"vocab_size": len(vocabulary), "eos_token_id": end, "bos_token_id": end - 1},
        vision_config=common | {"image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(inner)
    module = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}
    (folder / "modules.json").write_text(json.dumps([module]))


def save_static(folder: Path, *, normalize: bool = True) -> None:
    """A model2vec model of width 16."""
    from model2vec import StaticModel

    tokenizer = word_tokenizer("", "", "[PAD]", "[UNK]")
    torch.manual_seed(4)
    vectors = torch.randn(tokenizer.get_vocab_size(), 16).numpy()
    StaticModel(vectors, tokenizer, normalize=normalize).save_pretrained(folder)


def save_body(folder: Path, model: torch.nn.Module, tokenizer: object, max_tokens: int) -> torch.nn.Module:
    """The transformer as a module of sentence-transformers."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    source = folder.with_name(f"{folder.name}.body")
    model.save_pretrained(source)
    tokenizer.save_pretrained(source)
    return Transformer(str(source), max_seq_length=max_tokens)


def save_images(folder: Path, count: int = 6) -> list[Path]:
    """Images of random blocks of colour, of different sizes and kinds."""
    from PIL import Image

    folder.mkdir()
    generator = torch.Generator().manual_seed(7)
    paths = []
    for i in range(count):
        blocks = torch.randint(0, 256, (4, 4, 3), generator=generator, dtype=torch.uint8).numpy()
        picture = Image.fromarray(blocks).resize((40 + 5 * i, 50), Image.Resampling.NEAREST)
        paths.append(folder / f"{i:03d}.{'png' if i % 2 else 'jpg'}")
        (picture.convert("L") if i == 3 else picture).save(paths[-1])
    return paths


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each family: cls, mean, gtr, clip, static; and images in it."""
    folder = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        save_bert(folder / "cls", pooling="cls")
        save_bert(folder / "mean", pooling="mean", normalize=False)
        save_t5(folder / "gtr")
        save_clip(folder / "clip")
    save_static(folder / "static")
    save_images(folder / "images")
    return folder
