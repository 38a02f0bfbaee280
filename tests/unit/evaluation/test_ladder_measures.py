"""Which tokens may be asked for, and what the measures make of a model that is known."""

import numpy as np
import pytest
import torch

from jielong.baselines.rules import Rule, RuleTable
from jielong.baselines.seq2seq import Seq2Seq, Seq2SeqConfig
from jielong.data.sentence_pairs import SentencePair
from jielong.data.shards import Shard
from jielong.evaluation import ladder_measures as measures
from jielong.generation.loading import Trained
from jielong.generation.readers import RuleSpeaker
from jielong.generation.sampling import Sampling
from jielong.objectives.sequence_to_sequence import Marks, lay_out
from tests.tiny import TEXTS, assistant, randomise, tokenizer


@pytest.fixture(scope="module")
def words() -> measures.Words:
    """Half of a word, a digit and a mark are no words, nor is what was seen once."""
    encode = tokenizer().encode
    text = [token for word in ("晴", "雨", "word", " do", "12", "。") for token in encode(word)]
    shard = Shard.pack([[*text * 30, *encode("字")]], 1, ["zh"], [100])
    return measures.Words.of(tokenizer(), shard)


def test_only_whole_words_that_were_seen_often_are_words(words: measures.Words) -> None:
    assert {words.text(int(token)) for token in words.among} == {"晴", "雨", "word", "do"}
    asked = ("晴", "word", "do", "字", "12", "晴雨", "or")
    assert [words.token(word) is not None for word in asked] == [True] * 3 + [False] * 4


def test_nearest_by_hand(words: measures.Words) -> None:
    """All vectors are alike but that of 雨, which is opposite."""
    matrix = np.ones((tokenizer().vocab_size, 3), dtype=np.float32)
    matrix[words.token("雨")] = -1
    found = measures.nearest(words, {"v": matrix}, ("晴",), 9).found["v"]
    assert {near.token for near in found} == {"word", "do", "雨"}
    assert (found[-1].token, found[-1].cosine) == ("雨", pytest.approx(-1))
    assert len(measures.nearest(words, {"v": matrix}, ("晴",), 2).found["v"]) == 2
    unknown = measures.nearest(words, {"v": matrix}, ("晴", "字", "雨"), 9)
    assert (unknown.query, unknown.found) == ("晴 − 字 + 雨", {})


def test_samples_go_on_from_the_same_prompts() -> None:
    sampling = Sampling(max_tokens=4)
    prompts = [text[:5] for text in TEXTS[:2]]
    found = measures.samples({"a": assistant(), "b": assistant(1)}, prompts, sampling)
    assert [sample.prompt for sample in found] == prompts
    assert all(set(sample.texts) == {"a", "b"} for sample in found)
    assert found[0].texts["a"] != found[0].texts["b"]


def test_the_dialogue_is_one_conversation() -> None:
    table = RuleTable(rules=(Rule(pattern="", reply=("one", "two")),))
    speaker = Trained("rules", RuleSpeaker(table, tokenizer()), tokenizer())
    turns = measures.dialogue(speaker, ["a", "b", "c"])
    assert [turn.answer for turn in turns] == ["one", "two", "one"]


def test_a_translator_that_knows_nothing_loses_the_logarithm_of_the_vocabulary() -> None:
    shape = Seq2SeqConfig(vocab_size=tokenizer().vocab_size, context=32, width=8, attention=False)
    model = Seq2Seq(shape).eval()
    randomise(model, seed=0, std=0.0)
    climbed = measures.Climbed(Trained("t", model, tokenizer()), 1.5, 7, 99)
    pairs = [SentencePair("春", "the"), SentencePair("雨", "dog")]
    rows = [(torch.tensor([9]), torch.tensor([9, 2])), (torch.tensor([8]), torch.tensor([8, 2]))]
    batch = lay_out(rows, Marks(pad=0, bos=1, eos=2, mask=0))
    sampling = Sampling(strategy="greedy", max_tokens=3)
    found, texts = measures.translate(climbed, pairs, batch, sampling)
    assert found.nats == pytest.approx(np.log(tokenizer().vocab_size), rel=1e-5)
    assert (found.name, found.attention, found.accuracy) == ("t", False, 0)
    assert (found.seconds, found.steps, found.size) == (1.5, 7, 99)
    shown = measures.examples(pairs, {"t": texts}, 1)
    assert [(example.zh, example.en) for example in shown] == [("春", "the")]
