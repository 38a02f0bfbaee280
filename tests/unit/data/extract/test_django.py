from jielong.data.archives import Member
from jielong.data.extract.django import documents

PAGE = """\
Boxes
=====

A box is opened like this::

    box.open()

{rest}
"""


def page(name: str, rest: str = "And then it is open.") -> Member:
    return Member(f"django-1.0/docs/{name}.txt", PAGE.format(rest=rest).encode())


def test_a_page_is_a_group_of_documents() -> None:
    rest = "\n\n".join([f"Paragraph {number} " + "of many words " * 70 for number in range(4)])
    found = list(documents([page("topics/boxes", rest), page("ref/lids")]))
    assert [(d.group, d.key) for d in found] == [
        ("topics/boxes", "topics/boxes/0"),
        ("topics/boxes", "topics/boxes/1"),
        ("ref/lids", "ref/lids/0"),
    ]
    text = "# Boxes\n\nA box is opened like this:\n\n```\nbox.open()\n```\n\nAnd then it is open."
    assert found[2].text == text
    assert found[0].text.count("Paragraph") + found[1].text.count("Paragraph") == 4


def test_a_heading_stays_with_what_follows() -> None:
    rest = "words " * 486 + "\n\nLids\n----\n\nA lid is put on like this::\n\n    box.put(lid)"
    first, second = documents([page("boxes", rest)])
    assert first.text.endswith("words words")
    assert second.text == "## Lids\n\nA lid is put on like this:\n\n```\nbox.put(lid)\n```"


def test_a_page_of_next_to_nothing_is_left_out() -> None:
    assert not list(documents([Member("django-1.0/docs/requirements.txt", b"boxes>=1\nlids")]))
