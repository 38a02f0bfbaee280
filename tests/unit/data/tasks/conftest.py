from functools import cache

import pytest

CLASSES = {
    "动物": ["熊猫", "老虎", "狮子", "大象", "猴子", "兔子", "长颈鹿", "企鹅", "海豚", "白鹤"],
    "食物": ["米饭", "面条", "饺子", "馒头", "豆腐", "苹果", "香蕉", "烤鸭", "火锅", "汤圆"],
    "地名": ["北京", "上海", "广州", "天津", "南京", "武汉", "成都", "杭州", "西安", "苹果"],
}
ZH = [
    "医生",
    "朋友",
    "天气",
    "学校",
    "老师",
    "工作",
    "时间",
    "电话",
    "衣服",
    "问题",
    "孩子",
    "城市",
]
EN = ["doctor", "friend", "weather", "school", "teacher", "garden", "window", "letter", "music"]


@pytest.fixture(scope="session")
def lexicon():
    """Some 500 invented idioms of few characters: chains are long and splits are full."""
    from jielong.data.lexicon import Lexicon

    alphabet = "天地人山水火木金土日月风云花鸟虫"
    idioms = {
        a + b + c + d: {"count": (7 * i + 5 * j) % 900, "pinyin": None, "gloss": None}
        for i, a in enumerate(alphabet)
        for j, d in enumerate(alphabet)
        for b, c in [(alphabet[(i + j) % 16], alphabet[(i * j + 3) % 16]), ("心", "意")]
    }
    categories: dict[str, list[str]] = {}
    for name, words in CLASSES.items():
        for word in words:
            categories.setdefault(word, []).append(name)
    for i in range(16 * 16):
        categories.setdefault(f"{alphabet[i // 16]}{alphabet[i % 16]}村", []).append("地名")
    sentences = [
        {"text": f"{word}对{other}来说很重要。", "lang": "zh", "source": "hsk"}
        for word in ZH
        for other in ZH
        if word != other
    ]
    sentences += [
        {"text": f"The {word} is near the {other} now.", "lang": "en", "source": "hsk"}
        for word in EN
        for other in EN
        if word != other
    ]
    return Lexicon(
        idioms=idioms, categories=categories, sentences=sentences, words_zh=ZH, words_en=EN
    )


@pytest.fixture(scope="session")
def items(lexicon):
    """`items(name, split)`: the items of a family, made once."""
    from jielong.data.tasks import FAMILIES

    return cache(lambda name, split, seed=0: FAMILIES[name].items(lexicon, split, seed))
