"""The format, on entries that we wrote ourselves after its manual page."""

from jielong.data.archives import Member
from jielong.data.extract.wordnet import Synset, documents, parse
from jielong.data.splits import is_unseen

LICENCE = "  1 This software and database is being provided to you.  \n"
BOX = '00001740 06 n 02 box 0 wooden_crate 0 001 @ 00001930 n 0000 | a thing with a lid; "he shut '
BOX += 'the box"; "boxes, boxes!" - I. Myself  '
LID = "00001930 06 n 01 lid 0 000 | (chiefly plural) what closes a `box'; the top  "
SHUT = '00002000 30 v 01 shut 0 001 * 00001930 v 0000 01 + 08 00 | close; "shut it!"  '
SQUARE = "00003000 00 s 02 square(a) 0 four-sided(ip) 0 000 | having four sides"
SILENT = '00004000 02 r 01 boxily 0 000 | "he walked boxily"  '
LONG = "00005000 06 n 0b " + " ".join(f"w{n} 0" for n in range(11)) + " 000 | eleven words"


def test_lines_are_read_as_the_manual_says() -> None:
    data = (LICENCE + "\n".join([BOX, LID, SHUT, SQUARE, SILENT, LONG]) + "\n").encode()
    box, lid, shut, square, silent, long = parse(data)
    assert box == Synset(
        "n00001740",
        "noun",
        ("box", "wooden crate"),
        "a thing with a lid",
        ("he shut the box", "boxes, boxes!"),
    )
    assert lid.gloss == "(chiefly plural) what closes a `box'; the top"
    assert (shut.kind, shut.gloss, shut.examples) == ("verb", "close", ("shut it!",))
    assert (square.kind, square.words) == ("adjective", ("square", "four-sided"))
    assert (silent.kind, silent.gloss, silent.examples) == ("adverb", "", ("he walked boxily",))
    assert len(long.words) == 11  # 0b: the count is hexadecimal


def test_sets_are_told_in_sentences() -> None:
    data = "\n".join([BOX, LID, SILENT]).encode()
    [document] = documents([Member("usr/share/wordnet/data.noun", data)])
    assert (document.key, document.group, document.lang) == ("noun/0", "noun/0", "en")
    box, lid = document.text.splitlines()
    assert "means a thing with a lid. It means the same as “wooden crate”." in box
    assert box.endswith("For example: “he shut the box”, “boxes, boxes!”")
    assert "“lid”" in lid
    assert lid.endswith("means what closes a ‘box’; the top.")
    [verb] = documents([Member("usr/share/wordnet/data.verb", SHUT.encode())])
    assert "means to close. For example: “shut it!”" in verb.text


def test_unseen_headwords_are_not_told() -> None:
    words = [f"word{number}" for number in range(300)]
    lines = [f"{n:08} 06 n 01 {word} 0 000 | a meaning" for n, word in enumerate(words)]
    told = "".join(d.text for d in documents([Member("data.noun", "\n".join(lines).encode())]))
    unseen = [word for word in words if is_unseen(word)]
    assert unseen
    assert [word for word in words if f"“{word}”" not in told] == unseen
