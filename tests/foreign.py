"""Tokenizers as other makers build them, made by the library that they use."""

import json
from pathlib import Path

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer

from tests.tiny import TEXTS

CHATML = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
TURNS = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set first = messages[0]['content'] + '\\n\\n' %}
    {%- set talk = messages[1:] %}
{%- else %}
    {%- set first = '' %}
    {%- set talk = messages %}
{%- endif %}
{%- for message in talk %}
    {%- if message['role'] == 'robot' %}{{ raise_exception('no robots') }}{% endif %}
    {%- set name = 'model' if message['role'] == 'assistant' else message['role'] %}
    {{- '<start_of_turn>' + name + '\\n' + (first if loop.first else '') }}
    {%- generation %}{{ message['content'] }}{{ '<end_of_turn>' }}{%- endgeneration %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<start_of_turn>model\\n' }}
{%- endif %}
"""


def like_qwen(folder: Path, size: int = 330, template: str | None = CHATML) -> tokenizers.Tokenizer:
    """Over bytes; nothing begins a text; its chat is ChatML."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}|\n+|[^\p{L}\p{N}\n]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=size - 3, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    backend.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    config = {"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    _save(folder, backend, config | {"add_bos_token": False}, template)
    return backend


def like_gemma(
    folder: Path, template: str | None = TURNS, *, blank_first: bool = False
) -> tokenizers.Tokenizer:
    """Over characters, other characters as bytes; `<bos>` begins a text.

    With `blank_first` each text gets a space in front, as in Llama 2.
    """
    named = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    blank = normalizers.Replace(" ", "\u2581")
    first = [normalizers.Prepend("\u2581")] if blank_first else []
    learned = tokenizers.Tokenizer(models.BPE())
    learned.normalizer = blank
    learned.train_from_iterator(TEXTS[:3], BpeTrainer(vocab_size=200, show_progress=False))
    model = json.loads(learned.to_str())["model"]
    spelled = [*named, *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {token: i for i, token in enumerate([*spelled, *model["vocab"]])}
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    backend = tokenizers.Tokenizer(
        models.BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    )
    backend.normalizer = normalizers.Sequence([*first, blank])
    after = [decoders.Strip(" ", 1, 0)] if blank_first else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), *after]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)]
    )
    backend.add_special_tokens(named)
    config = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    _save(folder, backend, config, template)
    return backend


def _save(
    folder: Path, backend: tokenizers.Tokenizer, config: dict[str, object], template: str | None
) -> None:
    config |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    config |= {"chat_template": template} if template else {}
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
