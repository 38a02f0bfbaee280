"""The table of rules: what each kind does, in which order, and what a bad table is told."""

from pathlib import Path

import pytest

from jielong.baselines import rules
from jielong.baselines.rules import SHIPPED, Rule, RuleTable
from jielong.core.errors import ConfigError


@pytest.fixture(scope="module")
def shipped() -> RuleTable:
    return RuleTable.load(SHIPPED)


def load(tmp_path: Path, text: str) -> RuleTable:
    path = tmp_path / "table.toml"
    path.write_text(text, encoding="utf-8")
    return RuleTable.load(path)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("你会下棋吗？", "我会下棋。"),
        ("你会不会唱歌？", "我会唱歌。"),
        ("你们喜欢我的猫吗？", "我们喜欢你的猫。"),
        ("Can you help me?", "I can help you."),
        ("Do you like your tea?", "Yes, I like my tea."),
        ("i am tired of my job", "Why are you tired of your job?"),
    ],
)
def test_the_shipped_table_turns_things_round(shipped: RuleTable, said: str, answer: str) -> None:
    assert shipped.answer(said) == answer


@pytest.mark.parametrize("said", ["", " ", "嗯", "ok", "?", "？", "！！", "12", "どう？", "🙂"])
def test_the_shipped_table_always_has_an_answer(shipped: RuleTable, said: str) -> None:
    assert shipped.answer(said).strip()


def test_replies_take_turns(shipped: RuleTable) -> None:
    heard = [shipped.answer("你好", turn) for turn in (1, 2, 3)]
    assert heard[0] != heard[1]
    assert heard[0] == heard[2]


def test_the_first_reply_that_fits_ends_the_table(tmp_path: Path) -> None:
    table = load(
        tmp_path,
        """
        [[rules]]
        pattern = "a"
        rewrite = "b"
        [[rules]]
        pattern = "bb"
        reply = ["two"]
        [[rules]]
        pattern = "b"
        reply = ["one"]
        [[rules]]
        pattern = "z"
        rewrite = "never reached {0}"
        """,
    )
    assert table.answer("ab") == "two"
    assert table.answer("a") == "one"
    assert table.answer("z") == "never reached z"
    assert table.answer("q") == "q"


def test_words_are_swapped_at_once_and_whole(tmp_path: Path) -> None:
    swaps = '[swaps]\n"i am" = "you are"\ni = "you"\nyou = "I"\n"我" = "你"\n"你" = "我"\n'
    table = load(tmp_path, swaps + "[[rules]]\nswap = true\n")
    assert table.answer("I am, you see, in it") == "you are, I see, in it"
    assert table.answer("你看我") == "我看你"


def test_only_what_a_reply_caught_is_swapped(tmp_path: Path) -> None:
    swaps = '[swaps]\nmy = "your"\n'
    rule = '[[rules]]\npattern = "love (?P<what>.*)"\nreply = ["my, {what}: {0}"]\n'
    assert load(tmp_path, swaps + rule).answer("love my cat") == "my, your cat: love your cat"


def test_a_group_that_took_no_part_is_nothing() -> None:
    table = RuleTable(rules=(Rule(pattern="a(b)?", reply=("[{1}]",)),))
    assert table.answer("a") == "[]"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ('pattern = "("\nreply = ["x"]', r"rules\[0\]\.pattern: '\(': not a regular expression"),
        ('pattern = "a"\nreply = ["{1}"]', r"has no group '1', which '\{1\}' asks for"),
        ('pattern = "a"', r"give one of reply, rewrite and swap"),
        ('pattern = "a"\nreply = ["x"]\nswap = true', r"give one of reply, rewrite and swap"),
        ('patern = "a"\nreply = ["x"]', r"patern: no such setting; did you mean 'pattern'"),
        ('pattern = "a"\nreply = "x"', r"rules\[0\]\.reply: 'x' is a str: expected a list"),
        ('pattern = "a', r"not a TOML file"),
    ],
)
def test_a_bad_table_is_one_clear_line(tmp_path: Path, rule: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, f"[[rules]]\n{rule}\n")
    assert str(caught.value).startswith(str(tmp_path / "table.toml"))
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such recipe"):
        RuleTable.load(tmp_path / "nowhere.toml")


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rules: empty: give at least one") as caught:
        load(tmp_path, "rules = []\n")
    assert str(caught.value).startswith(str(tmp_path / "table.toml"))


@pytest.mark.parametrize("kind", ['reply = ["x"]', 'rewrite = "x"'])
def test_a_pattern_that_would_look_for_years_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Every way to cut 60 letters into ones and twos is tried: 2.5e12 of them."""
    monkeypatch.setattr(rules, "_PATIENCE_S", 0.05)
    table = load(tmp_path, f"[[rules]]\nswap = true\n[[rules]]\npattern = '^(a|aa)+$'\n{kind}\n")
    assert table.answer("aaa") == "x"
    message = r"rules\[1\]\.pattern: '\^\(a\|aa\)\+\$': takes more than 0.05 s for 61 characters"
    with pytest.raises(ConfigError, match=message):
        table.answer("a" * 60 + "b")


def test_letters_that_only_fold_to_others_stay(shipped: RuleTable) -> None:
    """The Turkish i without a dot and I with one."""
    assert shipped.swapped("\u0131, i, \u0130, I") == "\u0131, you, \u0130, you"
