"""What many tests need: small models with random weights, and a small trained vocabulary."""

from functools import cache

import torch

from jielong.generation.loading import Assistant
from jielong.model.config import ModelConfig, RopeConfig
from jielong.model.encoder_decoder import EncoderDecoder
from jielong.model.heads import ScalarModel
from jielong.model.transformer import Transformer
from jielong.tokenizer.bpe import Tokenizer

TEXTS = (
    "春风化雨,雨过天晴。晴空万里的时候,人们说:一心一意。",
    "the quick brown fox jumps over the lazy dog; don't you'll see 1234 times?",
    "接龙是一个词语游戏：每个词的第一个字是上一个词的最后一个字。",
    "def chain(word):\n    return word[-1]\n\n\tprint('<eos> is no token here')\n",
)


def config(**changes: object) -> ModelConfig:
    """Two layers, four heads in two groups."""
    settings: dict = {
        "vocab_size": 23,
        "context": 32,
        "n_layer": 2,
        "width": 24,
        "n_head": 4,
        "n_kv_head": 2,
        "ffn_width": 40,
        "rope": RopeConfig(base=100.0),
    }
    return ModelConfig(**settings | changes)


def randomise(module: torch.nn.Module, seed: int, std: float = 0.3) -> None:
    """Draw every parameter anew: as they start, blocks are the identity and prove nothing."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            centre = 1.0 if "norm" in name else 0.0
            parameter.normal_(centre, std, generator=random)


def decoder(seed: int = 0, std: float = 0.3, **changes: object) -> Transformer:
    """A language model in which every weight matters."""
    model = Transformer(config(**changes))
    randomise(model, seed, std)
    return model.eval()


def scalar_model(seed: int = 0, std: float = 0.3, **changes: object) -> ScalarModel:
    """A reward or value model in which every weight matters."""
    model = ScalarModel(config(**changes))
    randomise(model, seed, std)
    return model.eval()


def encoder_decoder(seed: int = 0, std: float = 0.3, **changes: object) -> EncoderDecoder:
    """A model of two stacks in which every weight matters."""
    model = EncoderDecoder(config(objective="encoder_decoder", **changes))
    randomise(model, seed, std)
    return model.eval()


def random_ids(*shape: int, seed: int = 0, vocab_size: int = 23, low: int = 6) -> torch.Tensor:
    """Ordinary tokens: no special one among them."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(low, vocab_size, shape, generator=random)


@cache
def tokenizer() -> Tokenizer:
    """A vocabulary learned from `TEXTS`."""
    return Tokenizer.train(TEXTS, 300)


@cache
def assistant(seed: int = 0, std: float = 0.3) -> Assistant:
    """A model that babbles in the vocabulary of `tokenizer`."""
    vocabulary = tokenizer()
    return Assistant("tiny", decoder(seed, std, vocab_size=vocabulary.vocab_size), vocabulary)
