"""Lines of every kind, written by ourselves and put together by chance, but the same each time."""

from random import Random

from jielong.tokenizer.special_tokens import SPELLINGS
from jielong.tokenizer.standard_files import MARK

PIECES = (
    *(
        "春风化雨，",
        "雨过天晴。",
        "接龙：一个接一个！",
        "他说：“好的……”",
        "２０２６年３月",
        "〇々",
        "繁體中文",
    ),
    *(
        "the quick fox",
        " don't",
        "You'LL see",
        " naïve café",
        "naïve",
        "WHAT?!",
        "e.g. 3.14",
        "12345678",
    ),
    *("Tシャツを着る", "ひらがなー", "서울", "привет", "αβγ", "שלום", "नमस्ते", "สวัสดี", "µm ² ①"),
    *("🧑‍🚀", "❤️ love", "👍🏽", "1️⃣", "🇨🇳", "﷽"),
    *(
        "\n",
        "\r\n",
        "\n\n\n",
        "\t",
        "\t\t",
        "    ",
        " ",
        "  \n",
        "\u3000",
        "\xa0",
        "\u2028",
        "\x85",
    ),
    *(
        "def f(x):\n\treturn x[-1]  # ok\n",
        "if (a && b) { c += 1; }",
        "<div class='x'>",
        "a_b->c::d",
        "$x^2$",
    ),
    *(
        "\x00",
        "\x07",
        "\x1b[0m",
        "\x7f",
        "\ufeff",
        "\u200b",
        "\u202e",
        "\ufffd",
        "\ufdd0",
        "\uffff",
    ),
    *("\U0010ffff", "\U000e0100", "\ue000", "\u0301", "\u0378", "龘", "𠮷", "葛\U000e0100"),
    *SPELLINGS,
    *(f" {spelling}" for spelling in SPELLINGS),
    *(
        "<eo",
        "s>",
        "<",
        ">",
        "</user>",
        "<|endoftext|>",
        "<|im_start|>",
        "< eos >",
        "\uff1ceos\uff1e",
    ),
)


def lines(number: int, seed: int = 0) -> list[str]:
    """`number` different lines of 1 to 12 pieces, none with a marked spelling."""
    random = Random(seed)
    found: dict[str, None] = {}
    while len(found) < number:
        line = "".join(random.choices(PIECES, k=random.randint(1, 12)))
        if not any(spelling + MARK in line for spelling in SPELLINGS):
            found[line] = None
    return list(found)


def conversations(texts: list[str], seed: int = 0) -> list[list[dict[str, str]]]:
    """All of `texts` as the turns of conversations; some begin with a system message."""
    random = Random(seed)
    rest, found = list(texts), []
    while rest:
        roles = ["system"] * random.randint(0, 1) + ["user", "assistant"] * random.randint(1, 3)
        said, rest = rest[: len(roles)], rest[len(roles) :]
        turns = [{"role": r, "content": t} for r, t in zip(roles, said, strict=False)]
        found.append(turns)
    return found
