import dataclasses

import pytest
import torch

from jielong.data.lexicon import Lexicon
from jielong.feedback.records import Ranking, Response
from jielong.stages.judging import sentences
from jielong.stages.ranking_batches import Ranked, RankingBatches, collate, encode
from jielong.tokenizer.chat_template import render
from tests.tiny import tokenizer

EOS = 2


def ranking(number: int, ranks: tuple[int | None, ...], **changes: object) -> Ranking:
    """Answers "春", "春春" ..; the last one was cut short."""
    texts = ["春" * (i + 1) for i in range(len(ranks))]
    ends = ["stop"] * (len(ranks) - 1) + ["length"]
    return Ranking(
        id=str(number),
        prompt_id=str(number),
        messages=({"role": "user", "content": f"{number}"},),
        responses=tuple(
            Response(id=str(i), text=text, model="m", finish=end, **changes)
            for i, (text, end) in enumerate(zip(texts, ends, strict=True))
        ),
        ranks=ranks,
        annotator="a",
    )


def test_R3_a_row_is_prompt_answer_and_the_end_it_really_had() -> None:
    found = encode([ranking(7, (2, 1, 3))], tokenizer())
    prompt = render(tokenizer(), [{"role": "user", "content": "7"}], generation_prompt=True).ids
    spring = tokenizer().encode("春")
    assert found.rows == [
        [*prompt, *spring, EOS],
        [*prompt, *spring * 2, EOS],
        [*prompt, *spring * 3],  # cut: nothing is added
    ]
    assert found.ranks == [[2, 1, 3]]


def test_R3_a_finished_row_is_what_training_on_answers_sees() -> None:
    rows = encode([ranking(7, (2, 1))], tokenizer()).rows
    talk = [{"role": "user", "content": "7"}, {"role": "assistant", "content": "春"}]
    assert rows[0] == render(tokenizer(), talk).ids


def test_R3_recorded_ids_are_used_as_they_are() -> None:
    """Bytes of 春 one by one, as a policy may sample them: no text encodes to that."""
    ids = tuple(tokenizer().encode("龘"))
    mine = ranking(7, (1, 2), ids=ids, tokenizer_sha=tokenizer().sha256)
    assert all(tuple(row[-3:]) == ids for row in encode([mine], tokenizer()).rows)
    other = ranking(7, (1, 2), ids=ids, tokenizer_sha="another")
    assert encode([other], tokenizer()) == encode([ranking(7, (1, 2))], tokenizer())


def test_R1_unranked_answers_are_left_out() -> None:
    found = encode([ranking(7, (2, None, 1))], tokenizer())
    assert (len(found.rows), found.ranks) == (2, [[2, 1]])


def test_R1_annotators_of_the_same_answers_share_one_prompt() -> None:
    """The second saw the answers in another order; the third ranked other answers."""
    one, other = ranking(7, (2, None, 1)), ranking(8, (1, 2))
    turned = dataclasses.replace(one, responses=one.responses[::-1], ranks=(1, 2, None))
    batches = RankingBatches([one, other, turned], tokenizer(), batch=2, seed=0)
    assert sorted(prompt.ranks for prompt in batches.prompts) == [[[1, 2]], [[2, 0, 1], [0, 2, 1]]]
    assert sorted(batches(0).ranks.tolist()) == [[[1, 2, 0], [0, 0, 0]], [[2, 0, 1], [0, 2, 1]]]
    assert len(batches(0).ids) == 5


def test_R1_other_words_are_another_prompt() -> None:
    one = ranking(7, (2, 1))
    asked = dataclasses.replace(one, messages=({"role": "user", "content": "another"},))
    cut = tuple(dataclasses.replace(answer, finish="length") for answer in one.responses)
    others = [asked, dataclasses.replace(one, responses=cut)]
    assert len(RankingBatches([one, *others], tokenizer(), batch=2, seed=0).prompts) == 3


def test_R1_a_batch_holds_whole_prompts_of_any_size() -> None:
    prompts = [
        Ranked("a", [[1, 5, 7], [1, 5]], [[2, 1]]),
        Ranked("b", [[1, 6, 8, 9]] * 3, [[1, 1, 2]]),
    ]
    batch = collate(prompts, 0)
    assert batch.ids.tolist() == [[1, 5, 7, 0], [1, 5, 0, 0]] + [[1, 6, 8, 9]] * 3
    assert batch.lengths.tolist() == [3, 2, 4, 4, 4]
    assert batch.ranks.tolist() == [[[2, 1, 0]], [[1, 1, 2]]]


def test_R1_the_prompt_is_the_unit_that_is_shuffled() -> None:
    """Seven prompts of 2 to 4 answers, three a batch: each epoch another order, none twice."""
    rankings = [ranking(i, tuple(range(1, 3 + i % 3))) for i in range(7)]
    batches = RankingBatches(rankings, tokenizer(), batch=3, seed=1)
    assert batches.per_epoch == 2
    known = {
        tuple(row): i for i, talk in enumerate(rankings) for row in encode([talk], tokenizer()).rows
    }
    epochs = []
    for epoch in range(2):
        seen = []
        for step in (2 * epoch, 2 * epoch + 1):
            batch = batches(step)
            rows = [
                known[tuple(row[:n])]
                for row, n in zip(batch.ids.tolist(), batch.lengths.tolist(), strict=True)
            ]
            sizes = (batch.ranks > 0).sum(dim=(1, 2)).tolist()
            prompts = [rows[sum(sizes[:i])] for i in range(3)]
            assert rows == [p for p, size in zip(prompts, sizes, strict=True) for _ in range(size)]
            seen += prompts
        assert len(set(seen)) == 6
        epochs.append(seen)
    assert epochs[0] != epochs[1]
    again = RankingBatches(rankings, tokenizer(), batch=3, seed=1)(3)
    assert torch.equal(again.ids, batches(3).ids)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_R2_no_word_that_is_asked_for_in_training_is_asked_for_in_evaluation(split: str) -> None:
    words = [f"{a}{b}" for a in "天地人山水火木金土日" for b in "月风云花鸟虫鱼龙虎马牛羊鹿兔"]
    found = [{"text": f"他说{word}很好。", "lang": "zh", "source": "own"} for word in words]
    lexicon = Lexicon(sentences=found, words_zh=words)
    groups = [{prompt.group for prompt in sentences(lexicon, s)} for s in ("train", split)]
    assert all(groups)
    assert not groups[0] & groups[1]
