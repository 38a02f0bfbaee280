import itertools
from collections import Counter

import pytest

from jielong.core.errors import DataError
from jielong.data.chat_rows import POOL, ChatRows, fit_turns
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


def read(rows: ChatRows, step: int) -> list[tuple[list[int], list[bool]]]:
    ids, counts = rows(step)
    return [(i.tolist(), c.tolist()) for i, c in zip(ids, counts, strict=True)]


def test_a_batch_holds_rendered_conversations_padded_on_the_right() -> None:
    known = {tuple(render(tokenizer(), conversation(i).messages).ids): i for i in range(24)}
    seen = Counter()
    for step in range(POOL):
        ids, counts = rows()(step)
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
        ids, _ = rows()(step)
        sizes.append(sorted((ids != 0).sum(axis=1).tolist()))
    sizes.sort()
    assert all(one[-1] <= two[0] for one, two in itertools.pairwise(sizes))
    assert sizes[0][0] < sizes[-1][-1]


def test_batches_are_a_pure_function_of_seed_and_step() -> None:
    one, fresh = rows(), rows()
    straight = [read(one, step) for step in range(20)]
    assert [read(fresh, step) for step in (19, 3, 11)] == [straight[i] for i in (19, 3, 11)]
    assert [read(rows(1), step) for step in range(20)] != straight


def test_a_conversation_too_long_loses_its_oldest_exchanges_then_its_end() -> None:
    talk = [message("system", "春"), message("user", "一"), message("assistant", "二")]
    talk += [message("user", "三"), message("assistant", "四五六七")]
    whole = render(tokenizer(), talk)
    assert fit_turns(tokenizer(), talk, len(whole.ids)) == whole
    last = render(tokenizer(), talk[:1] + talk[3:])
    assert fit_turns(tokenizer(), talk, len(whole.ids) - 1) == last
    cut = fit_turns(tokenizer(), talk, len(last.ids) - 3)
    assert (cut.ids, cut.loss_mask) == (last.ids[:-3], last.loss_mask[:-3])


def test_a_question_that_leaves_no_room_for_an_answer_is_named() -> None:
    talk = [message("user", "春" * 30), message("assistant", "好")]
    with pytest.raises(DataError, match=r"beginning '春春春.* has no answer within 20 tokens"):
        fit_turns(tokenizer(), talk, 20)
