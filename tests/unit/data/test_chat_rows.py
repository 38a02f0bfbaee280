import itertools
from collections import Counter

import numpy as np
import pytest

from jielong.core.errors import DataError
from jielong.data.chat_rows import POOL, ChatRows, split_turns, survey
from jielong.data.conversations import Conversation
from jielong.tokenizer.chat_template import render
from tests.tiny import tokenizer


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def conversation(index: int) -> Conversation:
    """Number `index`, in words that grow."""
    asked = message("user", f"{index}")
    return Conversation((asked, message("assistant", "一" * (index % 7 + 1))), ("test",))


def rows(seed: int = 0) -> ChatRows:
    return ChatRows(tokenizer(), conversation, batch=3, longest=40, seed=seed)


def only(rows: ChatRows, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The ids and the mask of a step of one micro-batch."""
    [(ids, counts, documents)] = rows(step)
    assert documents is None
    return ids, counts


def read(rows: ChatRows, step: int) -> list[list[list]]:
    """Everything that a step holds."""
    batches = rows(step)
    return [[array.tolist() for array in batch if array is not None] for batch in batches]


def test_a_batch_holds_rendered_conversations_padded_on_the_right() -> None:
    known = {tuple(render(tokenizer(), conversation(i).messages).ids): i for i in range(24)}
    seen = Counter()
    for step in range(POOL):
        ids, counts = only(rows(), step)
        for row, mask in zip(ids.tolist(), counts.tolist(), strict=True):
            length = len(row)
            while row[length - 1] == 0:
                length -= 1
            index = known[tuple(row[:length])]
            seen[index] += 1
            expected = render(tokenizer(), conversation(index).messages).loss_mask
            assert mask == expected + [False] * (len(row) - length)
        assert (ids[:, -1] != 0).any()  # as narrow as can be
    assert seen == Counter(range(24))  # each conversation of the pool once


def test_rows_of_like_length_share_a_batch() -> None:
    """Over a pool no two batches overlap in their lengths, but where one ends the other begins."""
    sizes = []
    for step in range(POOL):
        ids, _ = only(rows(), step)
        sizes.append(sorted((ids != 0).sum(axis=1).tolist()))
    sizes.sort()
    assert all(one[-1] <= two[0] for one, two in itertools.pairwise(sizes))
    assert sizes[0][0] < sizes[-1][-1]


@pytest.mark.parametrize("packed", [False, True])
def test_batches_are_a_pure_function_of_seed_and_step(packed: bool) -> None:
    def made(seed: int = 0) -> ChatRows:
        return ChatRows(tokenizer(), conversation, 3, 40, seed, packed)

    one, fresh = made(), made()
    straight = [read(one, step) for step in range(20)]
    assert [read(fresh, step) for step in (19, 3, 11)] == [straight[i] for i in (19, 3, 11)]
    if not packed:  # then only the source has a seed
        assert [read(made(1), step) for step in range(20)] != straight


def test_a_packed_step_holds_its_own_conversations_several_to_a_row() -> None:
    packed = ChatRows(tokenizer(), conversation, batch=6, longest=40, seed=0, packed=True)
    [(ids, counts, documents)] = packed(2)
    assert documents is not None
    assert len(ids) < 6
    found = {}
    for row in range(len(ids)):
        for number in range(1, documents[row].max() + 1):
            place = documents[row] == number
            found[tuple(ids[row, place].tolist())] = counts[row, place].tolist()
    expected = [render(tokenizer(), conversation(i).messages) for i in range(12, 18)]
    assert found == {tuple(row.ids): row.loss_mask for row in expected}


def talk(*contents: str, system: str = "") -> list[dict[str, str]]:
    head = [message("system", system)] if system else []
    return head + [message(("user", "assistant")[i % 2], c) for i, c in enumerate(contents)]


def test_a_conversation_too_long_is_split_where_the_user_takes_the_turn() -> None:
    first, second, third = ("一", "二"), ("三", "四五"), ("六七", "八")
    whole = talk(*first, *second, *third, system="春")
    size = len(render(tokenizer(), whole).ids)
    assert split_turns(tokenizer(), whole, size) == ([render(tokenizer(), whole)], 0, 0)
    pair = render(tokenizer(), talk(*first, *second, system="春"))
    for longest in (size - 1, len(pair.ids)):
        split = split_turns(tokenizer(), whole, longest)
        assert split.pieces == [pair, render(tokenizer(), talk(*third, system="春"))]
        assert (split.cut, split.lost) == (0, 0)
    apart = [render(tokenizer(), talk(*pair, system="春")) for pair in (first, second, third)]
    assert split_turns(tokenizer(), whole, len(pair.ids) - 1).pieces == apart


def test_an_exchange_longer_than_a_row_loses_its_end_and_its_neighbours_nothing() -> None:
    whole = talk("一", "二", "三", "四五六七八九十", "春", "风")
    long = render(tokenizer(), talk("三", "四五六七八九十"))
    split = split_turns(tokenizer(), whole, len(long.ids) - 3)
    first, last = render(tokenizer(), talk("一", "二")), render(tokenizer(), talk("春", "风"))
    cut = (long.ids[:-3], long.loss_mask[:-3])
    assert split == ([first, cut, last], 1, 0)


def test_an_answer_that_a_long_question_pushes_out_is_counted_as_lost() -> None:
    whole = talk("一", "二", "春" * 60, "好", "三", "四")
    split = split_turns(tokenizer(), whole, 20)
    pieces = [render(tokenizer(), talk("一", "二")), render(tokenizer(), talk("三", "四"))]
    assert split == (pieces, 1, 1)


def named(place: str, *contents: str) -> Conversation:
    return Conversation(tuple(talk(*contents)), ("own",), place)


def test_the_survey_counts_what_is_cut_and_says_where() -> None:
    fine, long = ("一", "二"), ("一", "春" * 60)
    lost = ("春" * 60, "好", "一", "二")
    found = survey(tokenizer(), [named("a:1", *fine), named("a:2", *long), named("a:3", *lost)], 20)
    assert (found.exchanges, found.answers, found.places) == (2, 1, ("a:2", "a:3"))
    assert found.describe(20) == (
        "a:2, a:3: exchanges longer than 20 tokens, whose end is cut: 2, with no answer left: 1; "
        "raise longest, or shorten them"
    )


def test_conversations_without_an_answer_are_refused_by_place() -> None:
    lost = [named(f"a:{i}", "春" * 60, "好") for i in range(5)]
    expected = "a:0, a:1, a:2 and 2 more: no answer within 20 tokens, so nothing to learn"
    with pytest.raises(DataError, match=expected):
        survey(tokenizer(), [named("a:9", "一", "二"), *lost], 20)
    unnamed = Conversation(lost[0].messages, ("recall",))
    with pytest.raises(DataError, match=r"^recall: '春{40}': no answer within 20 tokens"):
        survey(tokenizer(), [unnamed], 20)


@pytest.mark.parametrize("packed", [False, True])
def test_a_batch_without_an_answer_is_refused_though_nobody_surveyed(packed: bool) -> None:
    rows = ChatRows(tokenizer(), lambda _: named("a:1", "春" * 60, "好"), 2, 20, 0, packed)
    with pytest.raises(DataError, match="a:1: no answer within 20 tokens"):
        rows(0)


@pytest.mark.parametrize("packed", [False, True])
def test_pieces_beyond_the_batch_become_further_micro_batches(packed: bool) -> None:
    """Two conversations of three exchanges each, one exchange to a row."""
    long = talk(*("一", "二三四五六七八九十") * 3)
    size = len(render(tokenizer(), long[:2]).ids)
    rows = ChatRows(
        tokenizer(), lambda _: Conversation(tuple(long), ("own",)), 2, size + 1, 0, packed
    )
    batches = rows(0)
    assert [batch.ids.shape for batch in batches] == [(2, size)] * 3
    assert sum(int(batch.counts.sum()) for batch in batches) == 2 * sum(
        render(tokenizer(), long).loss_mask
    )
