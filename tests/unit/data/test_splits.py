import pytest

from jielong.data.splits import BUCKETS, UNSEEN, bucket, is_unseen, split

HAN = [chr(code) for code in range(0x4E00, 0x9FA6)]


# `printf 马 | sha256sum` in the shell, taken modulo 1000 with bc.
@pytest.mark.parametrize(
    ("key", "number"), [("画蛇添足", 890), ("一心一意", 218), ("water", 801), ("马", 229)]
)
def test_a_bucket_is_the_digest_modulo_a_thousand(key: str, number: int) -> None:
    assert bucket(key) == number


def test_the_sides_are_cut_at_900_and_950() -> None:
    sides = {"丝": (900, 950), "丌": (950, 980), "主": (980, BUCKETS)}
    for key, (low, high) in sides.items():
        assert low <= bucket(key) < high
    assert [split(key) for key in ("马", "丝", "丌", "主")] == ["train", "dev", "test", "test"]
    assert [is_unseen(key) for key in ("马", "丝", "丌", "主")] == [False, False, False, True]


def test_the_shares_are_as_promised() -> None:
    sides = [split(key) for key in HAN]
    # 20,902 draws: three standard errors of a 5 % share are 0.45 %.
    assert sides.count("dev") / len(HAN) == pytest.approx(0.05, abs=0.0046)
    assert sides.count("test") / len(HAN) == pytest.approx(0.05, abs=0.0046)
    assert sum(map(is_unseen, HAN)) / len(HAN) == pytest.approx(0.02, abs=0.003)
    assert len(UNSEEN) == 20
