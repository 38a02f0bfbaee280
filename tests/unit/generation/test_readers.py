"""Whatever speaks does so through one engine: alone, in a batch, greedily, sampled and by beams."""

import math
from functools import cache

import numpy as np
import pytest
import torch

from jielong.baselines.ngram import NgramModel
from jielong.baselines.recurrent import Recurrent, RecurrentConfig
from jielong.baselines.rules import Rule, RuleTable
from jielong.baselines.seq2seq import Seq2Seq, Seq2SeqConfig
from jielong.core.errors import DataError
from jielong.generation.engine import generate, stream
from jielong.generation.loading import Trained
from jielong.generation.readers import NO_LIMIT, NgramSpeaker, RuleSpeaker, open_reader
from jielong.generation.sampling import Sampling
from jielong.tokenizer.chat_template import render
from jielong.tokenizer.special_tokens import SPECIAL
from tests.tiny import TEXTS, assistant, randomise, tokenizer

GREEDY = Sampling(strategy="greedy", max_tokens=9)
PROMPTS = [[1, *tokenizer().encode(text)[:n]] for text, n in zip(TEXTS, (3, 7, 5, 1), strict=True)]


@cache
def speaker(kind: str) -> Trained:
    """One of each, with random weights; the transformer is every test's own."""
    size = tokenizer().vocab_size
    if kind == "causal":
        return assistant()
    if kind == "ngram":
        ids = [token for text in TEXTS for token in (1, *tokenizer().encode(text))]
        return Trained(kind, NgramSpeaker(NgramModel.fit(ids, 3, size)), tokenizer())
    if kind == "seq2seq":
        model = Seq2Seq(Seq2SeqConfig(vocab_size=size, context=32, width=12, attention=True))
    else:
        shape = {"vocab_size": size, "context": 32, "n_layer": 2, "width": 12}
        model = Recurrent(RecurrentConfig(cell=kind, **shape))
    randomise(model, seed=4)
    return Trained(kind, model.eval(), tokenizer())


EVERY = pytest.mark.parametrize("kind", ["causal", "lstm", "gru", "ngram", "seq2seq"])


@EVERY
def test_a_batch_says_what_each_row_says_alone(kind: str) -> None:
    model = speaker(kind)
    for sampling in (GREEDY, Sampling(max_tokens=9, seed=3)):
        together = generate(model, PROMPTS, sampling)
        assert together[0].ids == generate(model, PROMPTS[:1], sampling)[0].ids
        if sampling is GREEDY:
            alone = [generate(model, [prompt], sampling)[0].ids for prompt in PROMPTS]
            assert [completion.ids for completion in together] == alone


@pytest.mark.parametrize("kind", ["causal", "lstm", "gru", "seq2seq"])  # an n-gram has ties
def test_one_beam_is_greedy(kind: str) -> None:
    model = speaker(kind)
    beam = Sampling(strategy="beam", beams=1, max_tokens=6)
    greedy = Sampling(strategy="greedy", max_tokens=6)
    assert [c.ids for c in generate(model, PROMPTS, beam)] == [
        c.ids for c in generate(model, PROMPTS, greedy)
    ]


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_greedy_is_the_best_token_of_the_whole_text(kind: str) -> None:
    model = speaker(kind)
    for prompt, completion in zip(PROMPTS, generate(model, PROMPTS, GREEDY), strict=True):
        ids = list(prompt)
        for token in completion.ids:
            assert int(model.model(torch.tensor([ids]))[0, -1].argmax()) == token
            ids.append(token)


def test_an_ngram_is_sampled_from_its_distribution() -> None:
    model = speaker("ngram")
    sampling = Sampling(max_tokens=1, seed=0)
    draws = [c.ids[0] for c in generate(model, [PROMPTS[0]] * 2000, sampling, batch=500)]
    p = model.model.ngram.distribution(PROMPTS[0])
    best = int(np.argmax(p))
    error = math.sqrt(p[best] * (1 - p[best]) / 2000)
    assert abs(draws.count(best) / 2000 - p[best]) < 4 * error
    completion = generate(model, [PROMPTS[0]], sampling)[0]
    assert completion.logps[0] == pytest.approx(math.log(p[completion.ids[0]]), rel=1e-4)


@EVERY
def test_rows_that_leave_take_nothing_of_the_others_along(kind: str) -> None:
    model = speaker(kind).model
    reader = open_reader(model, 3, 20, SPECIAL)
    ids = torch.tensor([[1, 9, 8], [1, 7, 7], [1, 6, 9]])
    whole = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        reader.read(ids, whole)
        reader.select(torch.tensor([2, 0]))
        found = reader.read(torch.tensor([[10], [11]]))
        alone = open_reader(model, 1, 20, SPECIAL)
        alone.read(ids[2:], whole[2:])
        expected = alone.read(torch.tensor([[10]]))
    torch.testing.assert_close(found[:1], expected)


TABLE = RuleTable(
    rules=(
        Rule(pattern="hi", reply=("first 一", "second 二")),
        Rule(pattern="[?]", rewrite="."),
    )
)


GREEDY_WHOLE = Sampling(strategy="greedy", max_tokens=NO_LIMIT)


def rules() -> Trained:
    return Trained("rules", RuleSpeaker(TABLE, tokenizer()), tokenizer())


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=40, seed=5),
        Sampling(max_tokens=40, temperature=3.0, top_k=5, top_p=0.5),
        Sampling(strategy="greedy", max_tokens=40),
        Sampling(strategy="beam", beams=3, max_tokens=40),
    ],
    ids=["sampled", "filtered", "greedy", "beam"],
)
def test_rules_say_their_answer_however_it_is_drawn(sampling: Sampling) -> None:
    talk = [{"role": "user", "content": "hi"}]
    prompts = [render(tokenizer(), talk, generation_prompt=True).ids]
    talk += [{"role": "assistant", "content": "x"}, {"role": "user", "content": "oh, hi"}]
    prompts.append(render(tokenizer(), talk, generation_prompt=True).ids)
    prompts.append([1, *tokenizer().encode("no turns here?")])
    completions = generate(rules(), prompts, sampling)
    assert [c.text for c in completions] == ["first 一", "second 二", "no turns here."]
    assert all(c.finish == "stop" for c in completions)


def test_an_answer_that_is_begun_is_not_what_the_user_said() -> None:
    """The rest of the rules' own answer follows, wherever it is cut; another has none."""
    talk = [{"role": "user", "content": "oh, hi"}]
    prompt = render(tokenizer(), talk, generation_prompt=True).ids
    for begun in ("", "f", "first ", "first 一"):
        (rest,) = generate(rules(), [prompt + tokenizer().encode(begun)], GREEDY_WHOLE)
        assert (begun + rest.text, rest.finish) == ("first 一", "stop")
    with pytest.raises(DataError, match="beginning 'second': the rules say 'first 一'"):
        generate(rules(), [prompt + tokenizer().encode("second")], GREEDY_WHOLE)


def test_the_table_is_asked_once_for_each_prompt() -> None:
    asked: list[str] = []

    class Counted(RuleTable):
        def answer(self, text: str, turn: int = 1) -> str:
            asked.append(text)
            return super().answer(text, turn)

    speaking = RuleSpeaker(Counted(rules=TABLE.rules), tokenizer())
    prompts = [tokenizer().encode(text) for text in ("hi", "a?")]
    found = generate(Trained("rules", speaking, tokenizer()), prompts, GREEDY_WHOLE)
    assert [c.text for c in found] == ["first 一", "a."]
    assert asked == ["hi", "a?"]


def test_beams_end_with_the_rules_answer() -> None:
    """All else is impossible: a search that waited for as many endings as beams had no end."""
    beam = Sampling(strategy="beam", beams=4, max_tokens=NO_LIMIT)
    (found,) = generate(rules(), [tokenizer().encode("hi")], beam)
    assert (found.text, found.finish, found.logps) == ("first 一", "stop", [0.0])


def test_rules_stream() -> None:
    prompt = [1, *tokenizer().encode("hi")]
    pieces = [text for text, _ in stream(rules(), prompt, Sampling(max_tokens=40))]
    assert "".join(pieces) == "first 一"


def test_a_translator_reads_what_the_user_said_last() -> None:
    model = speaker("seq2seq")
    ids = tokenizer().encode(TEXTS[0])[:6]
    text = tokenizer().decode(ids)
    talk = [
        {"role": "user", "content": "before"},
        {"role": "assistant", "content": "then"},
        {"role": "user", "content": text},
    ]
    chat = render(tokenizer(), talk, generation_prompt=True).ids
    plain, in_chat = (
        generate(model, [prompt], Sampling(strategy="greedy", max_tokens=5))[0]
        for prompt in (tokenizer().encode(text), chat)
    )
    assert plain.ids == in_chat.ids


def test_a_translation_that_is_begun_goes_on() -> None:
    """Rows with beginnings of other lengths beside each other, against full forward passes."""
    model = speaker("seq2seq").model
    said = tokenizer().encode(TEXTS[0])[:6]
    begun = [[], [40, 41, 42], [50]]
    prompts = [[1, SPECIAL.user, *said, SPECIAL.assistant, *ids] for ids in begun]
    found = generate(speaker("seq2seq"), prompts, Sampling(strategy="greedy", max_tokens=5))
    source = torch.tensor([[*said, SPECIAL.eos]])
    for ids, completion in zip(begun, found, strict=True):
        target = [SPECIAL.bos, *ids, *completion.ids]
        with torch.no_grad():
            scores = model(
                source,
                torch.tensor([target]),
                source_is_token=torch.ones_like(source, dtype=torch.bool),
            )[0]
        assert scores.argmax(-1)[len(ids) : -1].tolist() == completion.ids
    assert len({tuple(completion.ids) for completion in found}) == 3


@pytest.mark.parametrize("order", [1, 2, 3])
def test_an_ngram_forgets_no_more_than_it_may(order: int) -> None:
    ids = [token for text in TEXTS for token in (1, *tokenizer().encode(text))]
    model = NgramModel.fit(ids, order, tokenizer().vocab_size)
    reader = open_reader(NgramSpeaker(model), 2, 20, SPECIAL)
    rows = [ids[:4], ids[7:11]]
    found = reader.read(torch.tensor(rows), torch.tensor([[False, True, True, True], [True] * 4]))
    for step in range(3):
        for row, scores in zip([rows[0][1:], rows[1]], found, strict=True):
            expected = np.log(model.distribution(row[len(row) - order + 1 :]))
            np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-5)
        new = [ids[20 + step], ids[30 + step]]
        rows = [[*row, token] for row, token in zip(rows, new, strict=True)]
        found = reader.read(torch.tensor(new)[:, None])


def test_nothing_to_translate_is_refused() -> None:
    with pytest.raises(DataError, match="prompt: empty"):
        generate(speaker("seq2seq"), [[1]], GREEDY)
