"""`inspect.html`: one page that shows how a model reads a text.

The page needs nothing but itself: styles, the attention weights and the script that draws them are
inside. Every text is escaped. Colours grow with what they show and mean nothing else.
"""

import base64
import json
import math
from pathlib import Path

import torch

from jielong.core.files import write_atomic
from jielong.evaluation.inspect_readings import MOST, Guess, Inspection, Reading, Token
from jielong.evaluation.markup import (
    Column,
    Markup,
    element,
    fixed,
    join,
    note,
    page,
    percent,
    quantity,
    section,
    table,
    tiles,
)

_NEXT = (
    ("What comes next", "下一个词元"),
    (
        "What the model expects after each token, and how that which does follow fared.",
        "读到每个词元之后，模型认为接下来是什么，真正的下一个排在第几。",
    ),
)
_HERE = (
    ("What it sees", "此处的词元"),
    (
        "What the model, which sees both ways, makes of each position, the token there included.",
        "双向模型对每个位置的判断；该位置的词元它也看得到。",
    ),
)


def write_inspection(found: Inspection, path: Path) -> Path:
    """Write the page; returns its path."""
    write_atomic(path, render(found))
    return path


def render(found: Inspection) -> str:
    """The whole page."""
    script = Path(__file__).with_name("templates") / "inspect.js"
    parts = [
        _header(found),
        _tiles(found),
        _text_section(found),
        _prediction_section(found),
        _attention_section(found),
        _lens_section(found),
        _neighbour_section(found),
        element("script", Markup(script.read_text("utf-8"))),
    ]
    return page(f"Inside {found.name}", join(parts), "inspect")


def cut_line(found: Inspection) -> str:
    """What of the text is not shown; empty when all is."""
    shown = len(found.tokens)
    if shown == found.text_tokens:
        return ""
    reason = "a page has room for" if shown == MOST else "the model's context holds"
    return f"Cut: the text has {found.text_tokens:,} tokens, {reason} the first {shown}."


def _header(found: Inspection) -> Markup:
    shape = found.model.config
    count = sum(parameter.numel() for parameter in found.model.parameters())
    facts = (
        element("code", found.name),
        f"{quantity(count)} parameters",
        f"{shape.n_layer} layers of {shape.n_head} heads",
        f"context {shape.context}",
    )
    zh = element("span", "模型怎样读这段文字", lang="zh-Hans")
    parts = [
        element("h1", "How the model reads it", zh),
        element("p", *(element("span", fact) for fact in facts), class_="meta"),
    ]
    cut = cut_line(found)
    return element("header", *parts, *([element("p", cut, class_="cut")] if cut else []))


def _tiles(found: Inspection) -> Markup:
    truths = [reading.truth for reading in found.readings if reading.truth]
    entries = [("Tokens", str(len(found.tokens)), f"{found.text_bytes} bytes of text")]
    if truths:
        bits = sum(truth.bits for truth in truths)
        first = sum(truth.rank == 1 for truth in truths) / len(truths)
        chance = f"blind guessing: {math.log2(found.model.config.vocab_size):.2f}"
        entries.append(("Bits a token", fixed(bits / len(truths), 2) or "", chance))
        if found.is_causal and found.text_bytes:
            entries.append(("Bits per byte", fixed(bits / found.text_bytes, 2) or "", ""))
        entries.append(("Right at once", percent(first), "the true token was the likeliest"))
    return tiles(entries)


def _text_section(found: Inspection) -> Markup:
    """The text in tokens, coloured by surprise."""
    chance = math.log2(found.model.config.vocab_size)
    chips = []
    for token, bits in zip(found.tokens, found.surprises, strict=True):
        said = _title(token) + ("" if bits is None else f", {bits:.2f} bits of surprise")
        below = f"{token.id} ⊂ {token.part_of}" if token.part_of else str(token.id)
        chips.append(_chip(token, (bits or 0.0) / chance, said, element("i", below)))
    return section(
        "Token by token",
        "逐个词元",
        *_explain(
            "Each piece with its number in the vocabulary. The colour is surprise, -log2 p: none "
            f"where the model was sure, full where it did no better than chance ({chance:.1f} "
            "bits). Bytes such as \\xe4 are a part of the character behind ⊂.",
            "每个词元下面是它在词表里的编号。颜色是惊讶程度 -log2 p：模型有把握时无色，"
            "与瞎猜无异时最深。\\xe4 之类是 ⊂ 后面那个字的部分字节。",
        ),
        element("p", *chips, class_="text"),
    )


def _prediction_section(found: Inspection) -> Markup:
    """A row for each position: what the model expected, and what did stand there."""
    causal = found.is_causal
    columns = [Column(""), Column("Token", "")]
    columns += [Column("Next", "")] if causal else []
    columns += [Column("Bits"), Column("p"), Column("Rank"), Column("Likeliest", "")]
    rows = []
    for place, (token, reading) in enumerate(zip(found.tokens, found.readings, strict=True)):
        truth = reading.truth
        figures = [None] * 3
        if truth:
            figures = [fixed(truth.bits, 2), percent(truth.probability), str(truth.rank)]
        likeliest = join((_guess(guess, reading) for guess in reading.best), " ")
        row = [str(place), _chip(token, 0.0, _title(token))]
        row += [_chip(truth.token, 0.0, _title(truth.token)) if truth else None] if causal else []
        rows.append([*row, *figures, likeliest])
    heading, explained = _NEXT if causal else _HERE
    shown = element("div", table(columns, rows), class_="tall")
    return section(*heading, *_explain(*explained), shown)


def _attention_section(found: Inspection) -> Markup:
    """A button for each head, and room for the script to draw on."""
    shape = found.model.config
    rows = []
    for layer in range(shape.n_layer):
        buttons = [
            element(
                "button",
                element("canvas"),
                type="button",
                aria_label=f"layer {layer + 1}, head {head + 1}",
                title=f"layer {layer + 1}, head {head + 1}: {shape.pattern(layer).kind}",
            )
            for head in range(shape.n_head)
        ]
        rows.append(element("div", element("span", str(layer + 1)), *buttons, class_="layer"))
    figures = {
        "tokens": [token.text for token in found.tokens],
        "heads": shape.n_head,
        "weights": base64.b64encode(_bytes(found)).decode(),
    }
    return section(
        "Attention",
        "注意力",
        *_explain(
            "One square for each head, one row of squares for each layer. Click one to look at it. "
            "A row of the map is the position that looks, a column where it looks; each row sums "
            "to 1. The colour grows with the square root of the weight, so that little shows too.",
            "每个方块是一个头，每行方块是一层；点一个来细看。图中一行是在看的位置，"
            "一列是被看的位置，每行之和为 1。颜色随权重的平方根加深，小的权重也看得见。",
        ),
        element("div", *rows, class_="heads scroll"),
        element("p", class_="readout", aria_live="polite"),
        element("div", class_="map scroll"),
        element("p", class_="text looks"),
        element("noscript", note("The maps are drawn by the page's own script.")),
        element(
            "script",
            Markup(json.dumps(figures, ensure_ascii=False).replace("<", "\\u003c")),
            type="application/json",
            id="attention",
        ),
    )


def _lens_section(found: Inspection) -> Markup:
    """Positions down, layers across: what each state would say."""
    layers = [str(layer) for layer in range(1, found.model.config.n_layer + 1)]
    columns = [Column(""), Column("Token", "stay"), Column("embedding", "")]
    columns += [Column(layer, "") for layer in layers]
    rows = []
    for place, (token, states) in enumerate(zip(found.tokens, found.lens, strict=True)):
        cells = [_lens_cell(state) for state in states]
        rows.append([str(place), _chip(token, 0.0, _title(token)), *cells])
    return section(
        "Logit lens",
        "逐层透视",
        *_explain(
            "What each layer would say if it were the last: its state through the final norm and "
            "the head. Underlined where that is the true one. The last column is the model's own.",
            "假如到这一层就结束，模型会说什么：把该层的状态送进最后的归一化和输出头。说中的带下划线；最后一列就是模型自己的回答。",
        ),
        element("div", table(columns, rows), class_="tall lens"),
    )


def _lens_cell(state: Reading) -> Markup:
    guess, truth = state.best[0], state.truth
    said = f"{guess.token.text}: {percent(guess.value)}"
    if truth:
        said += f"; true is {truth.token.text}: {percent(truth.probability)}, rank {truth.rank}"
    return _chip(guess.token, guess.value, said, kind=_kind(guess, state))


def _neighbour_section(found: Inspection) -> Markup:
    """Which tokens the embedding takes for alike."""
    columns = [Column("Token", ""), Column("Number"), Column("Nearest, by cosine", "")]
    rows = [
        [
            _chip(token, 0.0, _title(token)),
            str(token.id),
            join((_near(guess) for guess in guesses), " "),
        ]
        for token, guesses in found.neighbours
    ]
    return section(
        "Neighbours",
        "词向量的邻居",
        *_explain(
            "The tokens whose embeddings point in the most similar direction, before any layer.",
            "在任何一层之前，词向量方向最接近的词元。",
        ),
        element("div", table(columns, rows), class_="tall"),
    )


def _explain(english: str, chinese: str) -> tuple[Markup, Markup]:
    return note(english), element("p", chinese, class_="note", lang="zh-Hans")


def _chip(token: Token, heat: float, title: str, *more: Markup, kind: str = "") -> Markup:
    """A token as one sees it, its background as strong as `heat`, from 0 to 1."""
    return element(
        "span",
        element("b", token.text),
        *more,
        class_=f"token {kind}".strip(),
        style=f"--heat: {min(max(heat, 0.0), 1.0):.0%}",
        title=title,
    )


def _guess(guess: Guess, reading: Reading) -> Markup:
    share = element("i", percent(guess.value))
    return _chip(guess.token, guess.value, _title(guess.token), share, kind=_kind(guess, reading))


def _near(guess: Guess) -> Markup:
    return _chip(guess.token, 0.0, _title(guess.token), element("i", fixed(guess.value, 2)))


def _kind(guess: Guess, reading: Reading) -> str:
    is_true = reading.truth is not None and reading.truth.token.id == guess.token.id
    return "p true" if is_true else "p"


def _title(token: Token) -> str:
    whole = f", part of {token.part_of}" if token.part_of else ""
    return f"{token.text}, number {token.id}{whole}"


def _bytes(found: Inspection) -> bytes:
    """The weights in 255ths: a page of many heads stays small, and no eye sees less."""
    return (found.attention * 255).round().to(torch.uint8).numpy().tobytes()
