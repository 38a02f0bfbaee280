"""What `jielong tokenizer ...` does: ids of a text and back, and tables that show how and why."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jielong.core.errors import DataError
from jielong.tokenizer.bpe import FILE, Tokenizer
from jielong.tokenizer.chat_template import Message, render
from jielong.tokenizer.reference_bpe import ReferenceBPE, Variant, merge, steps

_MERGES_FROM_ONE_TEXT = 1000  # more than any text that a person would have explained can give


def load(model: Path) -> Tokenizer:
    """The tokenizer of a run, a quickstart directory, a model folder, or a `tokenizer.json`."""
    places = [model / FILE, model / "model" / FILE, model / "tokenize" / FILE]
    for place in [model] if not model.is_dir() else places:
        if place.is_file():
            return Tokenizer.load(place)
    raise DataError(f"{model}: holds no {FILE}: give a run directory, a model or that file")


def encode(tokenizer: Tokenizer, content: bytes) -> str:
    """UTF-8 text to ids, separated by spaces, on one line."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"standard input: not UTF-8 at byte {error.start} (0x{content[error.start]:02x}): "
            "convert it first"
        ) from None
    return " ".join(map(str, tokenizer.encode(text))) + "\n"


def decode(tokenizer: Tokenizer, content: bytes) -> bytes:
    """Ids, separated by white space, to the bytes they stand for; special tokens have none."""
    size = tokenizer.vocab_size
    ids = []
    for word in content.split():
        if not word.isdigit():
            shown = word[:20].decode("utf-8", errors="backslashreplace")
            raise DataError(f"standard input: '{shown}' is no id: give whole numbers")
        if len(word) > 12 or int(word) >= size:
            shown = word[:20].decode()
            raise DataError(f"standard input: id {shown}: give ids from 0 to {size - 1}")
        ids.append(int(word))
    return tokenizer.decode_bytes(ids)


def explain(text: str, tokenizer: Tokenizer | None, variant: Variant, console: Console) -> None:
    """Show how merging makes the tokens of `text`, step by step.

    With a tokenizer by its merges; without one by those that the reference BPE learns from this
    very text, which shows learning too.
    """
    if tokenizer is None:
        _explain_learning(text, variant, console)
    else:
        _explain_encoding(text, tokenizer, console)


def show_mask(
    conversations: Sequence[Sequence[Message]], tokenizer: Tokenizer, console: Console
) -> None:
    """A table for each conversation: every token, who says it, and whether its loss counts."""
    names = {token: f"<{name}>" for name, token in tokenizer.special._asdict().items()}
    for number, messages in enumerate(conversations, 1):
        rendered = render(tokenizer, messages)
        counting = sum(rendered.loss_mask)
        table = _table("position", "token", "id", "role", "counts")
        table.title = f"conversation {number}: {counting} of {len(rendered.ids)} tokens count"
        role = ""
        for place, (token, counts) in enumerate(zip(*rendered, strict=True)):
            name = names.get(token)
            role = name.strip("<>") if name in {"<system>", "<user>", "<assistant>"} else role
            shown = name if name else visible(tokenizer.token_bytes[token])
            row = [Text(cell) for cell in (str(place), shown, str(token), role)]
            table.add_row(*row, "yes" if counts else "-", style="bold" if counts else "dim")
        console.print(table)


def visible(token: bytes) -> str:
    """A token as one can see it: `␣` for a space, escapes for what has no shape of its own."""
    text = token.decode("utf-8", errors="backslashreplace")
    return "".join(c if c.isprintable() and c != " " else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return "␣" if character == " " else repr(character)[1:-1]


def _explain_encoding(text: str, tokenizer: Tokenizer, console: Console) -> None:
    """Each piece of the text, and the piece after each merge."""
    merges, texts = tokenizer.merges, tokenizer.token_bytes
    ranks = {into: rank for rank, into in enumerate(merges.values(), 1)}
    table = _table("piece", "step", "tokens", "merge learned")
    for piece in tokenizer.pieces(text):
        name = visible(b"".join(texts[i] for i in piece))
        for number, (ids, made) in enumerate(steps(piece, merges)):
            rank = f"{ranks[made]} of {len(merges)}" if made is not None else ""
            first = Text("" if number else name)
            table.add_row(first, str(number), _tokens(ids, texts, made), rank)
        table.add_section()
    console.print(table)
    ids = tokenizer.encode(text)
    console.print(Text(f"{len(ids)} tokens: {' '.join(map(str, ids))}"))


def _explain_learning(text: str, variant: Variant, console: Console) -> None:
    """Each merge that the reference learns from the text, and the text after it."""
    learned = ReferenceBPE.train(text, _MERGES_FROM_ONE_TEXT, variant)
    pieces = list(learned.pieces(text))
    table = _table("merge", "pair", "becomes", "the text now")
    table.add_row("0", "", "", _joined(pieces, learned.tokens, None))
    for number, (pair, into) in enumerate(learned.merges.items(), 1):
        pieces = [merge(piece, pair, into) for piece in pieces]
        left, right, whole = (visible(learned.tokens[i]) for i in (*pair, into))
        shown = _joined(pieces, learned.tokens, into)
        table.add_row(str(number), Text(f"{left} + {right}"), Text(whole), shown)
    console.print(table)
    console.print(Text(f"{sum(map(len, pieces))} tokens after {len(learned.merges)} merges"))


def _table(*columns: str) -> Table:
    table = Table(title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _joined(pieces: Sequence[Sequence[int]], texts: Sequence[bytes], made: int | None) -> Text:
    line = Text()
    for i, piece in enumerate(pieces):
        line.append(" / " if i else "", style="dim")
        line.append_text(_tokens(piece, texts, made))
    return line


def _tokens(ids: Sequence[int], texts: Sequence[bytes], made: int | None) -> Text:
    """Tokens side by side; the one just made stands out."""
    line = Text()
    for i, token in enumerate(ids):
        line.append("|" if i else "", style="dim")
        line.append(visible(texts[token]), style="bold green" if token == made else "")
    return line
