"""Sentences that we wrote, as many as a test wants: every line is another choice of words."""

from collections.abc import Iterator
from random import Random

SIMPLIFIED = (
    "{when}，{who}在{where}{did}，{felt}。",
    "{who}问：“{when}谁在{where}{did}？”",
    "听说{who}{when}去了{where}，{felt}！",
    "《{where}的故事》写的是{who}怎样{did}……",
    "{who}（{age}岁）说自己{when}只想{did}；别的都不重要。",
    "从{where}回来以后，{who}把看到的一切写成了{age}页日记",
)
TRADITIONAL = (
    "{when}，{who}在{where}{did}，{felt}。",
    "{who}問：「{when}誰在{where}{did}？」",
    "聽說{who}{when}去了{where}，{felt}！",
    "從{where}回來以後，{who}把看到的一切寫成了{age}頁日記",
)
ENGLISH = (
    "{when} {who} was {did} at {where}, and {felt}.",
    "“Who was {did} at {where} {when}?” asked {who}.",
    "It’s said that {who} — aged {age} — left {where} {when}; {felt}…",
    "{who}'s café near {where} opened {when} (price: {age}€).",
)
WORDS = {
    "SIMPLIFIED": {
        "when": "昨天傍晚 下雪的早晨 去年秋天 放学以后 半夜两点 大家都睡着时 刚才".split(),
        "who": "邻居家的小猫 我的外婆 图书馆管理员 卖豆腐的师傅 两个迷路的旅客 一位飞行员".split(),
        "where": "河边的旧码头 火车站 山顶的寺庙 学校操场 厨房 博物馆三层 菜市场 沙漠边缘".split(),
        "did": "修理一台收音机 数星星 学习游泳 包饺子 寻找丢失的钥匙 画一幅水彩 教孩子下棋".split(),
        "felt": "心里非常高兴 谁也没有注意到 这让人觉得很奇怪 结果却出乎意料".split(),
    },
    "TRADITIONAL": {
        "when": "昨天傍晚 下雪的早晨 去年秋天 放學以後 半夜兩點 大家都睡著時 剛才".split(),
        "who": "鄰居家的小貓 我的外婆 圖書館管理員 賣豆腐的師傅 兩個迷路的旅客 張老師".split(),
        "where": "河邊的舊碼頭 火車站 山頂的寺廟 學校操場 廚房 博物館三層 沙漠邊緣".split(),
        "did": "修理一臺收音機 數星星 學習游泳 尋找丟失的鑰匙 畫一幅水彩 教孩子下棋".split(),
        "felt": "心裡非常高興 誰也沒有注意到 這讓人覺得很奇怪 結果卻出乎意料".split(),
    },
    "ENGLISH": {
        "when": ["last night", "on a snowy morning", "after school", "in the autumn", "just now"],
        "who": ["Zoë", "my grandmother", "the old pilot", "a lost tourist", "our teacher", "André"],
        "where": ["the harbour", "a railway station", "the temple", "the market", "museum hall 3"],
        "did": ["mending a radio", "counting stars", "learning to swim", "playing chess"],
        "felt": ["nobody noticed", "it felt odd", "all was quiet again", "the end was a surprise"],
    },
}
TEMPLATES = {"SIMPLIFIED": SIMPLIFIED, "TRADITIONAL": TRADITIONAL, "ENGLISH": ENGLISH}


def sentences(script: str, seed: int = 0) -> Iterator[str]:
    """Different sentences of "SIMPLIFIED", "TRADITIONAL" or "ENGLISH", thousands of them."""
    rng = Random(seed)
    told = set()
    while True:
        words = {slot: rng.choice(choices) for slot, choices in WORDS[script].items()}
        words["age"] = str(rng.randrange(7, 990))
        sentence = rng.choice(TEMPLATES[script]).format(**words)
        if sentence not in told:
            told.add(sentence)
            yield sentence
