"""Good texts in quantity, without a download: invented Chinese, and Python's help."""

from pydoc_data.topics import topics
from random import Random

from jielong.data.documents import Document, pack

WHO = "老木匠 邻居家的小姑娘 卖豆腐的妇人 新来的老师 船上的水手 守林人 小学徒 图书管理员".split()
WHEN = (
    "天还没亮的时候 每逢下雨的日子 吃过晚饭以后 入冬以来 集市散了之后 等客人走完 趁着月色".split()
)
WHERE = (
    "在村口的石桥上 在堆满木料的院子里 沿着长满芦苇的河岸 在只有一盏灯的屋子里 从后山的小路".split()
)
DOES = (
    "慢慢地修补一张旧渔网 把晒干的草药分成小捆 给远方的亲人写一封长信 教孩子们辨认各种鸟叫 "
    "数着装满苹果的竹筐 听人讲从前发大水的故事 把借来的书一本一本放回原处 往炉子里添最后一块煤"
).split()
THEN = (
    "，直到有人敲门 ，谁也不去打扰 ，仿佛时间停了下来 ，连狗也不再叫了 ，心里却想着别的事情".split()
)


def chinese(count: int, seed: int = 0) -> list[Document]:
    """Short stories of eight to fourteen sentences."""
    rng = Random(seed)
    found = []
    for number in range(count):
        sentences = [
            f"{rng.choice(WHEN)}，{rng.choice(WHO)}{rng.choice(WHERE)}{rng.choice(DOES)}"
            f"{rng.choice([*THEN, ''])}。"
            for _ in range(rng.randint(8, 14))
        ]
        key = f"story {seed}/{number}"
        text = "".join(sentences)
        found.append(Document(source="stories", key=key, text=text, lang="zh", group=key))
    return found


def english(count: int) -> list[Document]:
    """About a kilobyte each of what Python tells about itself."""
    found = []
    for name, text in sorted(topics.items()):
        for part, piece in enumerate(pack(text.split("\n\n"), 1000)):
            key = f"{name}/{part}"
            found.append(Document(source="topics", key=key, text=piece, lang="en", group=key))
    return Random(0).sample(found, count)
