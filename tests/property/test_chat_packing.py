"""Conversations in rows, split and packed: nothing is lost, cut, or counted that should not be."""

from hypothesis import given
from hypothesis import strategies as st

from jielong.data.chat_rows import ChatRows, split_turns
from jielong.data.conversations import Conversation
from jielong.data.packing import best_fit, pack
from jielong.tokenizer.chat_template import Message, render
from tests.tiny import tokenizer

lengths = st.lists(st.integers(1, 40), max_size=30)
texts = st.text("春风雨abc ,1", min_size=1, max_size=12)


@st.composite
def talks(draw: st.DrawFn) -> list[dict[str, str]]:
    """A system message or none, then up to five exchanges."""
    head = [{"role": "system", "content": draw(texts)}] if draw(st.booleans()) else []
    roles = ["user", "assistant"] * draw(st.integers(1, 5))
    return head + [{"role": role, "content": draw(texts)} for role in roles]


def exchanges(messages: list[dict[str, str]]) -> tuple[list[Message], list[list[Message]]]:
    head = messages[: len(messages) % 2]
    turns = messages[len(head) :]
    return head, [turns[i : i + 2] for i in range(0, len(turns), 2)]


@given(lengths, st.integers(40, 90))
def test_each_piece_is_in_one_row_and_no_two_rows_would_fit_in_one(
    sizes: list[int], limit: int
) -> None:
    fitted, packed = best_fit(sizes, limit), pack(sizes, limit)
    for rows in (fitted, packed):
        assert sorted(place for row in rows for place in row) == list(range(len(sizes)))
        assert all(sum(sizes[place] for place in row) <= limit for row in rows)
    assert len(packed) <= len(fitted)
    full = sorted(sum(sizes[place] for place in row) for row in fitted)
    assert len(full) < 2 or full[0] + full[1] > limit


@given(talks(), st.integers(12, 80))
def test_a_split_keeps_every_exchange_that_fits_and_cuts_between_turns(
    messages: list[dict[str, str]], longest: int
) -> None:
    split = split_turns(tokenizer(), messages, longest)
    head, parts = exchanges(messages)
    alone = [render(tokenizer(), [*head, *part]) for part in parts]
    fits = [len(row.ids) <= longest for row in alone]
    assert split.cut == fits.count(False)
    assert split.lost == sum(not any(row.loss_mask[:longest]) for row in alone)
    assert all(len(piece.ids) <= longest for piece in split.pieces)
    # What the pieces teach, one after the other, is what the answers of each exchange alone teach.
    taught = [i for p in split.pieces for i, c in zip(p.ids, p.loss_mask, strict=True) if c]
    expected = [
        i
        for row in alone
        for i, c in zip(row.ids[:longest], row.loss_mask[:longest], strict=True)
        if c
    ]
    assert taught == expected
    start = render(tokenizer(), head).ids if head else [tokenizer().special.bos]
    for piece in split.pieces:
        assert piece.ids[: len(start)] == start
        assert piece.ids[len(start)] == tokenizer().special.user
    if all(fits):
        assert all(piece.ids[-1] == tokenizer().special.eos for piece in split.pieces)


@given(st.lists(talks(), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 40))
def test_packed_rows_hold_each_conversation_once_with_its_mask(
    found: list[list[dict[str, str]]], batch: int, step: int
) -> None:
    def conversation(index: int) -> Conversation:
        return Conversation(tuple(found[index % len(found)]), ("test",))

    longest = 60
    rows = ChatRows(tokenizer(), conversation, batch, longest, seed=0, packed=True)
    read = []
    for ids, counts, documents in rows(step):
        assert documents is not None
        assert len(ids) <= batch
        assert ids.shape[1] <= longest
        for i, c, d in zip(ids, counts, documents, strict=True):
            numbers = d[d > 0]
            assert (d[: len(numbers)] > 0).all()  # padding is on the right
            assert (i[len(numbers) :] == tokenizer().special.pad).all()
            assert not c[len(numbers) :].any()
            assert sorted(numbers) == list(numbers)  # each piece in one stretch
            read += [(i[d == n].tolist(), c[d == n].tolist()) for n in range(1, d.max() + 1)]
    expected = [
        (piece.ids, piece.loss_mask)
        for index in range(step * batch, (step + 1) * batch)
        for piece in split_turns(tokenizer(), conversation(index).messages, longest).pieces
    ]
    assert sorted(read) == sorted(expected)
