"""All numbers and names here are drawn by chance or made up."""

import pickle
from collections import Counter
from collections.abc import Callable
from random import Random
from time import process_time

import pytest

from jielong.core.config import parse
from jielong.core.errors import ConfigError
from jielong.data.documents import Document
from jielong.data.filters.personal import PersonalConfig, block, mask

CONFIG = PersonalConfig()
PER_TEMPLATE = 25


def digits(rng: Random, count: int) -> str:
    return "".join(rng.choices("0123456789", k=count))


def identity_number(rng: Random) -> str:
    """Tried out, not computed: of ISO 7064 it is used only that the weighted sum is 1 mod 11."""
    birth = f"{rng.randint(1930, 2015)}{rng.randint(1, 12):02}{rng.randint(1, 28):02}"
    body = f"{rng.choice(['110105', '320102', '440305', '620102'])}{birth}{digits(rng, 3)}"
    for last in "0123456789X":
        values = [*map(int, body), 10 if last == "X" else int(last)]
        if sum(value * 2 ** (17 - place) for place, value in enumerate(values)) % 11 == 1:
            return body + last
    raise AssertionError


def luhn_sum(number: str) -> int:
    """Summed from the left, with the doubled digits read from a table."""
    table = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    parity = len(number) % 2
    return sum(
        table[int(digit)] if place % 2 == parity else int(digit)
        for place, digit in enumerate(number)
    )


def card_number(rng: Random) -> str:
    prefix, length = rng.choice([("6222", 19), ("6217", 16), ("4", 16), ("52", 16), ("37", 15)])
    body = prefix + digits(rng, length - 1 - len(prefix))
    return next(body + last for last in "0123456789" if luhn_sum(body + last) % 10 == 0)


def wrong_card(rng: Random) -> str:
    right = card_number(rng)
    return right[:-1] + str((int(right[-1]) + rng.randint(1, 9)) % 10)


def grouped_card(rng: Random) -> str:
    number = "5" * 16
    while len(number) != 16 or number == "5" * 16:
        number = card_number(rng)
    return rng.choice(" -").join(number[at : at + 4] for at in range(0, 16, 4))


def mobile(rng: Random) -> str:
    number = f"1{rng.choice(['38', '39', '50', '58', '77', '86', '98'])}{digits(rng, 8)}"
    shapes = (number, f"{number[:3]}-{number[3:7]}-{number[7:]}", f"+86 {number}", f"86{number}")
    return rng.choice((*shapes, f"{number[:3]} {number[3:7]} {number[7:]}"))


def landline(rng: Random) -> str:
    area, length = rng.choice([("010", 8), ("021", 8), ("0755", 8), ("0571", 8), ("0913", 7)])
    number = str(rng.randint(2, 8)) + digits(rng, length - 1)
    shapes = [f"{area}-{number}", f"{area} {number}", f"{area}-{number}-8012", f"({area}){number}"]
    more = [
        f"（{area}）{number}",
        f"+86-{area[1:]}-{number}",
        f"{area}-{number[:-4]} {number[-4:]}",
    ]
    return rng.choice(shapes + more)


def email(rng: Random) -> str:
    user = rng.choice(["lin.wei", "wang_fang88", "a.b.c", "Sales-2024", "zhou+news", "x1"])
    return f"{user}@{rng.choice(['mail', 'post', 'corp', 'cs'])}.{rng.choice(['com', 'edu.cn'])}"


def address(rng: Random) -> str:
    network = rng.choice([58, 101, 114, 183, 202, 219])
    return f"{network}.{rng.randint(33, 199)}.{rng.randint(0, 255)}.7"


def qq(rng: Random) -> str:
    return str(rng.randint(10_000, 3_999_999_999))


def wechat(rng: Random) -> str:
    return rng.choice(["lin_wei", "zhouxm", "Fang-", "abc"]) + str(rng.randint(100, 99_999))


PLANTED: dict[str, tuple[Callable[[Random], str], list[str]]] = {
    "email": (email, ["邮箱是{}，请回信。", "Write to {}.", "<{}>", "来信请寄{}或者打电话"]),
    "identity": (identity_number, ["身份证号：{}。", "持{}的旅客", "Her ID card is {}, she said."]),
    "card": (card_number, ["卡号{}，户名林某", "请汇到 {} 。", "Pay to card {}, please."]),
    "phone": (
        mobile,
        ["手机：{}。", "联系人林女士{}", "Call me: {}", "电话{}，{}均可", "请打{}找我"],
    ),
    "ip": (address, ["服务器在{}上", "from {} port 22", "http://{}:8080/", "（{}）"]),
    "qq": (qq, ["QQ：{}", "加QQ{}聊", "我的qq号是{}。", "QQ群号: {}", "my QQ is {}"]),
    "wechat": (wechat, ["微信号：{}", "加微信{}，", "WeChat ID: {}", "vx：{}", "微信: {} 备注"]),
}
MORE_SHAPES: dict[str, tuple[Callable[[Random], str], list[str]]] = {
    "card": (grouped_card, ["卡号：{}。", "card {} expires soon"]),
    "phone": (landline, ["电话：{}。", "Tel: {}", "传真{}，", "{}转财务"]),
}
LOOK_ALIKES: list[tuple[Callable[[Random], str], list[str]]] = [
    (lambda r: digits(r, 11).replace("0", "1", 1), ["ISBN 978{}", "第{}号文件", "流水号{}"]),
    (
        lambda r: f"138{digits(r, 8)}",
        ["订单号：{}", "order no. {}", "运单编号{}。", "#{}", "{}.5 元"],
    ),
    (lambda r: f"2.138{digits(r, 8)}", ["约为{}", "e = {}...", "π/{}"]),
    (lambda r: f"ISBN 978-7-{digits(r, 4)}-{digits(r, 4)}-{r.randint(0, 9)}", ["{}", "书号{}"]),
    (lambda r: f"160{digits(r, 10)}", ["timestamp={}", "时间戳 {} 毫秒"]),
    (wrong_card, ["卡号{}", "number {}"]),
    (lambda r: f"11010519{r.randint(10, 99)}{r.randint(13, 99)}{digits(r, 6)}", ["编码{}", "{}"]),
    (
        lambda r: f"{r.randint(0, 9)}.{r.randint(0, 20)}.{r.randint(0, 9)}.{r.randint(0, 9)}",
        ["版本 {}", "release {}", "v{}", "见{}节", "升级到{}", "Python {}"],
    ),
    (
        lambda r: f"{r.randint(1, 9)}.{r.randint(40, 99)}.0.1",
        ["version {}", "Opera/{}", "版本号{}"],
    ),
    (
        lambda r: f"{r.choice(['10.0', '192.168', '172.16', '127.0'])}.{r.randint(0, 99)}.1",
        ["主机 {}", "ssh {}"],
    ),
    (lambda r: f"300.{r.randint(256, 999)}.1.200", ["{}", "坐标 {}"]),
    (lambda r: f"{r.randint(1900, 2030)}-{r.randint(1, 12):02}-28", ["{}", "生于{}", "QQ{}"]),
    (lambda r: f"第{r.randint(1, 1260)}条", ["民法典{}", "《合同法》{}规定"]),
    (lambda r: f"user{digits(r, 2)}@example.{r.choice(['com', 'org', 'net'])}", ["{}", "给{}"]),
    (lambda r: f"{digits(r, 3)},{digits(r, 3)},{digits(r, 3)}", ["共{}元", "1{} people"]),
    (lambda r: f"{r.getrandbits(64):016x}138{digits(r, 8)}", ["commit {}", "a{}"]),
    (lambda r: r.choice(["@property", "x@w.T", "f@g", "a @ b.c", "@林"]), ["{}", "用{}"]),
    (lambda r: r.choice(["QQ2013", "QQ 9.7", "微信读书", "WeChat Pay", "微信公众号"]), ["用{}看"]),
    (lambda r: f"400-{digits(r, 3)}-{digits(r, 4)}", ["热线 {}"]),
]


def sentences(
    rng: Random, kinds: dict[str, tuple[Callable[[Random], str], list[str]]]
) -> list[tuple[str, str, str]]:
    """Kind, template and value."""
    return [
        (kind, template, make(rng))
        for kind, (make, templates) in kinds.items()
        for template in templates
        for _ in range(PER_TEMPLATE)
    ]


def test_planted_data_is_masked_and_look_alikes_are_not() -> None:
    rng = Random(7)
    planted = sentences(rng, PLANTED) + sentences(rng, MORE_SHAPES)
    missed, false = [], []
    for kind, template, value in planted:
        text = template.replace("{}", value)
        masked, found = mask(text, "zh", CONFIG)
        if found != Counter({kind: template.count("{}")}) or value in masked:
            missed.append((text, masked))
    look_alikes = [
        template.replace("{}", make(rng))
        for make, templates in LOOK_ALIKES
        for template in templates
        for _ in range(PER_TEMPLATE)
    ]
    for text in look_alikes:
        masked, found = mask(text, "zh", CONFIG)
        if found:
            false.append((text, masked))
    right = len(planted) - len(missed)
    assert right / len(planted) >= 0.98, missed
    assert right / (right + len(false)) >= 0.98, false
    assert len(look_alikes) > 0.9 * len(planted)


@pytest.mark.parametrize(
    ("text", "lang", "masked"),
    [
        ("邮箱 lin@mail.com，电话13912345678。", "zh", "邮箱 [邮箱]，电话[电话]。"),
        ("Mail lin@mail.com or +86 139 1234 5678.", "en", "Mail [EMAIL] or [PHONE]."),
        ("tradition 传统 lin@mail.com", "mixed", "tradition 传统 [EMAIL]"),
        # The example of GB 11643-1999, then the same with one digit changed.
        ("身份证 11010519491231002X", "zh", "身份证 [身份证号]"),
        ("身份证 11010519491231003X", "zh", "身份证 11010519491231003X"),
        # The example number of every text on Luhn's formula, as Visa's test card has it
        ("card 4111 1111 1111 1111 ok", "en", "card [BANK_CARD] ok"),
        ("card 4111 1111 1111 1112 ok", "en", "card 4111 1111 1111 1112 ok"),
        ("QQ：123456，微信号：lin_2020", "zh", "QQ：[QQ号]，微信号：[微信号]"),
        ("add me on WeChat: lin_2020", "en", "add me on WeChat: [WECHAT]"),
        ("from 114.88.20.5 to 10.0.0.1", "en", "from [IP_ADDRESS] to 10.0.0.1"),
        ("12345678@qq.com", "zh", "[邮箱]"),
        ("13912345678,13812345678", "zh", "[电话],[电话]"),
        ("订单13912345678，订单电话13912345678", "zh", "订单13912345678，订单电话[电话]"),
        ("call +1 415 555 0132 or +44 (0)20 7946 0958", "en", "call [PHONE] or [PHONE]"),
        ("+33123456789，+86 139 1234 5678", "zh", "[电话]，[电话]"),
        ("a +12 and b +1 415, x+1234567890", "en", "a +12 and b +1 415, x+1234567890"),
        ("at 2a00:1450:4001:82b::200e.", "en", "at [IP_ADDRESS]."),
        ("2001:db8::1 fe80::1 12:30:45", "en", "2001:db8::1 fe80::1 12:30:45"),
        ("2001::2010 3f:ab:00:11:22:33", "en", "2001::2010 3f:ab:00:11:22:33"),
        ("user@a.example.org root@localhost", "en", "user@a.example.org root@localhost"),
    ],
)
def test_placeholders_speak_the_documents_language(text: str, lang: str, masked: str) -> None:
    assert mask(text, lang, CONFIG)[0] == masked


def test_masks_are_counted_by_kind() -> None:
    text = "a@mail.com b@mail.com 13912345678"
    assert mask(text, "en", CONFIG)[1] == Counter(email=2, phone=1)
    assert mask(text, "en", PersonalConfig(kinds=("phone",)))[1] == Counter(phone=1)
    assert mask("没有", "zh", CONFIG) == ("没有", Counter())


def test_the_step_keeps_what_it_does_not_touch() -> None:
    step = pickle.loads(pickle.dumps(block(CONFIG)))  # noqa: S301 - our own bytes
    document = Document(source="files", key="1", text="电话：", lang="zh", group="1")
    assert step(document) is document
    changed = step(
        Document(source="files", key="1", text="电话：13912345678", lang="zh", group="1")
    )
    assert isinstance(changed, Document)
    assert (changed.text, changed.id) == ("电话：[电话]", document.id)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="kinds: name: choose from email, identity"):
        parse(PersonalConfig, {"kinds": ["name"]})


@pytest.mark.parametrize("piece", ["a", "1", "a.", "1.", "1 ", "@a", "a@a.", "微信", "vx", "-1"])
def test_time_grows_with_the_text_and_not_with_its_square(piece: str) -> None:
    start = process_time()
    mask("138 1" + piece * 50_000, "zh", CONFIG)
    assert process_time() - start < 2  # the square would be minutes
