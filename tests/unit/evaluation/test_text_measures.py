from hypothesis import given
from hypothesis import strategies as st

from jielong.evaluation.text_measures import (
    RUN,
    SCRIPTS,
    code_points,
    repeated_share,
    script_counts,
)


def test_characters_are_counted_by_script() -> None:
    text = "接龙 2024 年，Ünïcode & ﬁre… 𠮷 \uff11\uff12 かな\u3000\n\u200b привет €"
    counts = dict(zip(SCRIPTS, script_counts(code_points(text)).tolist(), strict=True))
    # 接龙年𠮷, Ünïcode ﬁre, 2024 and two wide ones, ，&…€, かな привет
    assert counts == {"Han": 4, "Latin": 10, "digits": 6, "punctuation": 4, "other": 8}


def test_no_text_has_no_characters() -> None:
    assert script_counts(code_points("")).tolist() == [0, 0, 0, 0, 0]
    assert repeated_share(code_points("")) == 0.0


def test_half_a_character_is_counted_as_other() -> None:
    assert script_counts(code_points("\ud800")).tolist() == [0, 0, 0, 0, 1]


def test_a_text_said_twice_repeats_itself() -> None:
    text = "".join(chr(0x4E00 + n) for n in range(200))
    assert repeated_share(code_points(text)) == 0.0
    twice = 2 * text  # 385 runs, of which 200 begin in the first half
    assert repeated_share(code_points(twice)) == 1 - 200 / 385
    assert repeated_share(code_points("la" * 79)) == 0.0  # too short to tell


@given(st.text("ab接", min_size=160, max_size=400))
def test_repetition_is_what_a_set_of_runs_says(text: str) -> None:
    runs = [text[i : i + RUN] for i in range(len(text) - RUN + 1)]
    assert repeated_share(code_points(text)) == 1 - len(set(runs)) / len(runs)
