"""Which tokens may be asked for, and what the measures make of a model that is known."""

import numpy as np
import pytest
import torch

from jielong.baselines.rules import Rule, RuleTable
from jielong.baselines.seq2seq import Seq2Seq, Seq2SeqConfig
from jielong.data.sentence_pairs import SentencePair
from jielong.data.shards import Shard
from jielong.evaluation import ladder_measures as measures
from jielong.generation.loading import Assistant
from jielong.generation.readers import RuleSpeaker
from jielong.generation.sampling import Sampling
from jielong.objectives.sequence_to_sequence import PairBatch
from tests.tiny import TEXTS, assistant, randomise, tokenizer


@pytest.fixture(scope="module")
def words() -> measures.Words:
    text = tokenizer().encode("春 the 雨, 12 "[:-1]) * 30 + tokenizer().encode("风")
    shard = Shard.pack([text], 1, ["zh"], [100])
    return measures.Words.of(tokenizer(), shard)


def test_only_whole_words_that_were_seen_often_are_words(words: measures.Words) -> None:
    found = {words.text(int(token)) for token in words.among}
    assert found <= {"春", "雨", "the", "th", "he"}
    seen = [word for word in ("春", "雨", "the") if words.token(word) is not None]
    assert seen == [word for word in ("春", "雨", "the") if word in found]
    assert words.token("风") is None
    assert words.token("12") is None
    assert words.token("春雨") is None


def test_nearest_by_hand(words: measures.Words) -> None:
    """All vectors alike but one, which is opposite."""
    among = words.among
    assert len(among) >= 2
    query = words.text(int(among[0]))
    matrix = np.ones((tokenizer().vocab_size, 3), dtype=np.float32)
    matrix[among[1]] = -1
    found = measures.nearest(words, {"v": matrix}, (query,), 9).found["v"]
    assert len(found) == len(among) - 1
    assert found[-1].token == words.text(int(among[1]))
    assert found[-1].cosine == pytest.approx(-1)
    assert measures.nearest(words, {"v": matrix}, ("风",), 9).found == {}
    assert measures.nearest(words, {"v": matrix}, (query, "风", query), 9).query.count("风") == 1


def test_samples_go_on_from_the_same_prompts() -> None:
    sampling = Sampling(max_tokens=4)
    found = measures.samples({"a": assistant(), "b": assistant(1)}, TEXTS[:2], sampling)
    assert [sample.prompt for sample in found] == list(TEXTS[:2])
    assert all(set(sample.texts) == {"a", "b"} for sample in found)
    assert found[0].texts["a"] != found[0].texts["b"]


def test_the_dialogue_is_one_conversation() -> None:
    table = RuleTable(rules=(Rule(pattern="", reply=("one", "two")),))
    speaker = Assistant("rules", RuleSpeaker(table, tokenizer()), tokenizer())
    turns = measures.dialogue(speaker, ["a", "b", "c"])
    assert [turn.answer for turn in turns] == ["one", "two", "one"]


def test_a_translator_that_knows_nothing_loses_the_logarithm_of_the_vocabulary() -> None:
    shape = Seq2SeqConfig(vocab_size=tokenizer().vocab_size, context=32, width=8, attention=False)
    model = Seq2Seq(shape).eval()
    randomise(model, seed=0, std=0.0)
    climbed = measures.Climbed(Assistant("t", model, tokenizer()), 1.5, 7, 99)
    pairs = [SentencePair("春", "the"), SentencePair("雨", "dog")]
    target = torch.tensor([[1, 9, 2], [1, 8, 2]])
    batch = PairBatch(target, target > 0, target, target > 0)
    sampling = Sampling(strategy="greedy", max_tokens=3)
    found, texts = measures.translate(climbed, pairs, batch, sampling)
    assert found.nats == pytest.approx(np.log(tokenizer().vocab_size), rel=1e-5)
    assert (found.name, found.attention, found.accuracy) == ("t", False, 0)
    assert (found.seconds, found.steps, found.size) == (1.5, 7, 99)
    shown = measures.examples(pairs, {"t": texts}, 1)
    assert [(example.zh, example.en) for example in shown] == [("春", "the")]
