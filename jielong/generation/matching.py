"""The tokenizer of a model folder, made sure to be the model's own."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jielong.core.errors import CheckpointError
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.imported import Layout

GENERATION, ENDS = "generation_config.json", "eos_token_id"
# Makers round the number of rows up, for speed: such rows stand for no token.
_SPARE = 0.1


def matching_tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer of a model folder; raises `CheckpointError` when it is another model's."""
    return matched(Tokenizer.load(folder), vocab_size, _listed_ends(folder), folder)


def matched(tokenizer: Tokenizer, vocab_size: int, ends: Sequence[int], where: Path) -> Tokenizer:
    """A tokenizer, told how its model ends a text and whether it knows conversations.

    `ends` are the tokens that end a text by the makers' settings. Raises `CheckpointError` when the
    sizes say that it is another model's.
    """
    if tokenizer.layout is None:
        size, fits = tokenizer.vocab_size, tokenizer.vocab_size == vocab_size
    else:
        size = tokenizer.layout.size
        fits = (1 - _SPARE) * vocab_size <= size <= vocab_size
    if not fits:
        raise CheckpointError(
            f"{where}: the tokenizer has {size} entries and the model {vocab_size}: they "
            "do not belong together; copy both from one place"
        )
    if tokenizer.layout is None:
        return tokenizer
    return _adapted(tokenizer, tokenizer.layout, vocab_size, ends)


def _adapted(tokenizer: Tokenizer, layout: Layout, size: int, ends: Sequence[int]) -> Tokenizer:
    # Late: it takes a while to import, and most models are ours.
    from jielong.tokenizer import foreign_template

    eos, template = tokenizer.special.eos, layout.template
    if template is not None:
        end = foreign_template.end_of_turn(tokenizer)
        eos = eos if end is None else end
    elif tokenizer.special.assistant >= layout.size:  # a role that was added, which nobody taught
        template = foreign_template.NO_TEMPLATE
    ends = [end for end in ends if 0 <= end < size]  # no other can ever be chosen
    eos = ends[0] if ends and eos not in ends else eos
    return tokenizer.adapt(size=size, eos=eos, template=template)


def _listed_ends(folder: Path) -> list[int]:
    """The tokens that end a text by the makers' own settings, the usual one first."""
    for name in (GENERATION, "config.json"):
        file = folder / name
        if not file.exists():
            continue
        try:
            said = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{file}: cannot be read ({error}): copy it anew") from None
        if not isinstance(said, dict):
            raise CheckpointError(f"{file}: cannot be read (holds no table): copy it anew")
        if ends := ends_of(said):
            return ends
    return []


def ends_of(said: Mapping[str, Any]) -> list[int]:
    """The tokens that end a text by what a file of settings says; none where it does not."""
    found = said.get(ENDS)
    ends: list[Any] = found if isinstance(found, list) else [found]
    whole = [end for end in ends if type(end) is int]
    return whole if len(whole) == len(ends) else []
