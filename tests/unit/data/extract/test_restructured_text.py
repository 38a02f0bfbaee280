"""The markup, on pages that we wrote ourselves."""

import textwrap

import pytest

from jielong.data.extract.restructured_text import blocks, inline


def rendered(page: str) -> list[str]:
    return blocks(textwrap.dedent(page))


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("Use ``a_b_`` and ``*c``.", "Use `a_b_` and `*c`."),
        ("See :class:`~shed.box.Box` or :class:`shed.box.Box`.", "See Box or shed.box.Box."),
        ("See :meth:`.Box.open` and :meth:`!close`.", "See Box.open and close."),
        (
            "As :doc:`the guide </guide>` says\nat :ref:`its end <end>`.",
            "As the guide says at its end.",
        ),
        ("By :rfc:`9999` and :pep:`8`.", "By RFC 9999 and PEP 8."),
        ("The `box page <https://boxes.test/>`_ and `the list`_.", "The box page and the list."),
        ("A Box_ made with Wood__ by __init__ of it.", "A Box made with Wood by __init__ of it."),
        ("Said before [1]_ and [#box]_.", "Said before and."),
        ("Version |release| is **really** *quite* new.", "Version release is really quite new."),
        ("2 * 3 * 4 and *args are left.", "2 * 3 * 4 and *args are left."),
        (r"A \*star\* and a re\ ``join``\ ed word.", "A *star* and a re`join`ed word."),
        ("  many\n   lines\n  of it ", "many lines of it"),
    ],
)
def test_what_stands_in_a_line(markup: str, text: str) -> None:
    assert inline(markup) == text


def test_headings_have_the_level_of_their_underline() -> None:
    page = """
        =====
        Boxes
        =====

        Kinds of ``box``
        ================

        Wood
        ----

        Paper
        -----

        Colours
        =======

        ----

        The end.
    """
    assert rendered(page) == [
        "# Boxes",
        "## Kinds of `box`",
        "### Wood",
        "### Paper",
        "## Colours",
        "The end.",
    ]


def test_paragraphs_become_lines_and_code_keeps_its_own() -> None:
    page = """
        A box is opened
        like this::

            def open(box):

                return box.lid  # ``as it is``

        And closed:

        .. code-block:: python
            :caption: close.py

            box.close()

        .. console::

            $ boxes --close

        >>> box.open
        False

        ::

            plain
    """
    assert rendered(page) == [
        "A box is opened like this:",
        "```\ndef open(box):\n\n    return box.lid  # ``as it is``\n```",
        "And closed:",
        "```python\nbox.close()\n```",
        "```console\n$ boxes --close\n```",
        "```pycon\n>>> box.open\nFalse\n```",
        "```\nplain\n```",
    ]


def test_lists_keep_what_belongs_to_an_item() -> None:
    page = """
        * The first thing
          goes on here.

          And here::

              code
                  deeper

        * The second.
        3. The third.
        #. The fourth.

          * An inner one.
    """
    assert rendered(page) == [
        "- The first thing goes on here.\n  And here:\n  ```\n  code\n      deeper\n  ```",
        "- The second.",
        "3. The third.",
        "- The fourth.\n  - An inner one.",
    ]


def test_a_term_stands_above_what_it_means() -> None:
    page = """
        ``lid``
            What closes a
            box.

            It may be lost.
    """
    assert rendered(page) == ["`lid`\nWhat closes a box.", "It may be lost."]


def test_directives_that_say_something_are_said() -> None:
    page = """
        .. note::

            Boxes are
            square.

        .. admonition:: Why square?

            So they stack.

        .. versionadded:: 5.2

            The lid was added.

        .. deprecated:: 4.0 Use a bag.

        .. method:: Box.open(wide)
                    Box.aopen(wide)
            :async:

            Opens the box.
    """
    assert rendered(page) == [
        "Note: Boxes are square.",
        "Why square? So they stack.",
        "New in version 5.2: The lid was added.",
        "Deprecated since version 4.0: Use a bag.",
        "`Box.open(wide)`",
        "`Box.aopen(wide)`",
        "Opens the box.",
    ]


def test_what_only_steers_is_dropped() -> None:
    page = """
        :orphan:

        .. _a-label:
        .. _target: https://boxes.test/
        __ https://boxes.test/

        .. a comment
           in two lines

        .. toctree::
            :maxdepth: 2

            boxes/index

        .. |icon| image:: icon.png

        .. image:: box.png
            :alt: a box

        +------+-----+
        | box  | lid |
        +======+=====+
        | a    | b   |
        +------+-----+

        =====  ====
        box    lid
        =====  ====
        one    two

        three  four
        =====  ====

        The only words.

            A quotation.
    """
    assert rendered(page) == ["The only words.", "A quotation."]


@pytest.mark.parametrize("page", ["", "\n\n", "..", ".. note::", "* ", "::", "====", "+--+", "a::"])
def test_the_smallest_pages_end(page: str) -> None:
    assert len(rendered(page)) <= 1
