from jielong.data.archives import Member
from jielong.data.extract.chatter import documents, parse

HEAD = "categories:\n- boxes\nconversations:\n"


def member(name: str, body: str) -> Member:
    return Member(f"own/data/{name}.yml", (HEAD + body).encode())


TALK = member(
    "english/boxes",
    """\
- - What is  a box?
  - Something with
    a lid.
  - I see.
- - What is a bag?
  - |
    This:

    ```
    bag =
    ```
- - How do I open it?
  - |
    Like this:

    ```
    if box:
        box.open()
    ```
- a stray sentence
- - What is  a box?
  - Something with a lid.
  - I see.
- - Nobody answers.
""",
)


def test_every_conversation_is_read_once() -> None:
    assert [each.turns for each in parse([TALK])] == [
        ("What is a box?", "Something with a lid.", "I see."),
        ("How do I open it?", "Like this:\n```\nif box:\n    box.open()\n```"),
    ]


def test_some_subjects_have_many_answers_to_one_question() -> None:
    body = "- - Are you sad?\n  - No.\n  - Sometimes.\n"
    found = parse([member("english/emotion", body), member("english/boxes", body)])
    assert [each.turns for each in found] == [
        ("Are you sad?", "No."),
        ("Are you sad?", "Sometimes."),
        ("Are you sad?", "No.", "Sometimes."),
    ]


def test_documents_are_of_one_subject_and_language() -> None:
    chinese = "".join(f"- - 盒子{number}呢？\n  - {'在这里。' * 20}\n" for number in range(9))
    found = list(documents(parse([TALK, member("chinese/boxes", chinese)])))
    assert [(d.key, d.lang) for d in found] == [
        ("en/boxes/0", "en"),
        ("zh/boxes/0", "zh"),
        ("zh/boxes/1", "zh"),
        ("zh/boxes/2", "zh"),
    ]
    told = "What is a box?\nSomething with a lid.\nI see.\n\nHow do I open it?\nLike this:\n```"
    assert found[0].text.startswith(told)
    assert sum(d.text.count("呢？") for d in found) == 9
