"""The chat page in a real browser, before a real server, in both languages."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.serving import count_steps, serving, speaker

pytestmark = pytest.mark.web

ANSWER = "你好，很高兴见到。Hello there!"
LONG = 20_000
WORDS = {
    "zh-CN": {
        "box": "输入消息",
        "send": "发送",
        "stop": "停止",
        "new": "新对话",
        "welcome": "想聊点什么？",
        "stopped": "已停止",
        "forgotten": "模型已看不到以上的消息",
        "hello": "你好！",
        "other": "English",
    },
    "en-GB": {
        "box": "Message",
        "send": "Send",
        "stop": "Stop",
        "new": "New chat",
        "welcome": "What shall we talk about?",
        "stopped": "Stopped",
        "forgotten": "The model no longer sees the messages above",
        "hello": "Hello!",
        "other": "中文",
    },
}
LANGUAGES = pytest.mark.parametrize("language", WORDS)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(speaker(ANSWER, context=96)) as url:
        yield url


class Visit:
    """A page with what it asked for and what it complained about."""

    def __init__(self, browser: Browser, url: str, language: str, **settings: object) -> None:
        self.words = WORDS[language]
        self.context = browser.new_context(locale=language, **settings)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.goto(url)
        expect(self.page.locator("#model")).to_have_text("speaker")

    def say(self, text: str) -> None:
        box = self.page.get_by_role("textbox", name=self.words["box"])
        box.fill(text)
        box.press("Enter")

    def await_answers(self, count: int) -> None:
        expect(self.page.locator(".assistant")).to_have_count(count)
        expect(self.page.locator("[aria-busy]")).to_have_count(0)

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@LANGUAGES
def test_a_conversation(browser: Browser, url: str, language: str) -> None:
    with Visit(browser, url, language) as visit:
        page, words = visit.page, visit.words
        expect(page.locator("html")).to_have_attribute("lang", language[:2])
        expect(page.get_by_role("heading", name=words["welcome"])).to_be_visible()
        page.get_by_role("button", name=words["hello"], exact=True).click()
        visit.await_answers(1)
        expect(page.get_by_role("heading", name=words["welcome"])).to_be_hidden()
        visit.say("我们接龙吧\n<img src=x onerror=alert(1)>")
        visit.await_answers(2)
        assert page.locator(".assistant .text").all_inner_texts() == [ANSWER] * 2
        assert (
            page.locator(".user .text").last.inner_text().endswith("<img src=x onerror=alert(1)>")
        )
        assert page.locator("#messages img").count() == 0
        expect(page.locator("#counts")).to_contain_text("/ 96")
        sent = [r.post_data_json for r in visit.requests if r.method == "POST"]
        assert [m["role"] for m in sent[1]["messages"]] == ["user", "assistant", "user"]
        assert sent[1]["messages"][1]["content"] == ANSWER
        page.get_by_role("button", name=words["new"]).click()
        expect(page.locator("#messages li")).to_have_count(0)
        expect(page.get_by_role("heading", name=words["welcome"])).to_be_visible()
        assert {request.url.startswith(url) for request in visit.requests} == {True}
        assert visit.complaints == []


@LANGUAGES
def test_an_answer_streams_and_stops(browser: Browser, language: str) -> None:
    assistant = speaker("你好", context=LONG, endless=True)
    steps = count_steps(assistant)
    with serving(assistant) as url, Visit(browser, url, language) as visit:
        page, words = visit.page, visit.words
        visit.say("我们接龙吧")
        expect(page.locator(".assistant .text")).to_contain_text("你好你好")
        assert page.locator(".assistant").get_attribute("aria-busy") == "true"
        seen = len(page.locator(".assistant .text").inner_text())
        stop = page.get_by_role("button", name=words["stop"])
        expect(stop).to_be_visible()
        page.wait_for_timeout(200)
        assert len(page.locator(".assistant .text").inner_text()) > seen
        stop.click()
        expect(page.locator(".note")).to_have_text(words["stopped"])
        page.wait_for_timeout(1000)
        done = len(steps)
        page.wait_for_timeout(200)
        assert done == len(steps) < LONG - 100
        visit.say("你好")  # the next question works at once, and Escape stops too
        expect(page.locator(".assistant .text").last).to_contain_text("你好你好")
        page.keyboard.press("Escape")
        expect(page.locator(".note")).to_have_count(2)
        assert visit.complaints == []


@LANGUAGES
def test_turns_that_no_longer_fit(browser: Browser, url: str, language: str) -> None:
    with Visit(browser, url, language) as visit:
        # 96 >= 2 + 24 kept for the answer + 21 the question + 35 k: one turn before it fits.
        for count in range(1, 5):
            visit.say("龙" * 20)
            visit.await_answers(count)
            divider = visit.page.locator(".divider")
            if count < 3:
                expect(divider).to_have_count(0)
            else:
                expect(divider).to_have_text(visit.words["forgotten"])
                before = divider.locator("xpath=preceding-sibling::li")
                expect(before).to_have_count(2 * (count - 2))


def test_a_message_too_long_goes_back_to_the_box(browser: Browser, url: str) -> None:
    with Visit(browser, url, "en-GB") as visit:
        visit.say("龙" * 100)
        alert = visit.page.get_by_role("alert")
        expect(alert).to_contain_text("reads 96 tokens at once")
        expect(visit.page.locator("#messages li")).to_have_count(0)
        expect(visit.page.locator("#text")).to_have_value("龙" * 100)
        visit.say("你好")
        visit.await_answers(1)
        expect(alert).to_be_hidden()


def test_a_server_that_went_away(browser: Browser) -> None:
    with serving(speaker(ANSWER)) as url:
        visit = Visit(browser, url, "zh-CN")
    with visit:
        visit.say("你好")
        expect(visit.page.get_by_role("alert")).to_contain_text("连不上服务器")
        expect(visit.page.locator("#text")).to_have_value("你好")


def test_the_language_is_switched_and_remembered(browser: Browser, url: str) -> None:
    with Visit(browser, url, "zh-CN") as visit:
        page = visit.page
        page.get_by_role("button", name="English").click()
        expect(page.get_by_role("heading", name="What shall we talk about?")).to_be_visible()
        expect(page.get_by_placeholder("Message")).to_be_visible()
        page.reload()
        expect(page.get_by_role("button", name="中文")).to_be_visible()


@pytest.mark.parametrize(
    "events",
    [
        ["compositionstart", "enter:229", "compositionend"],
        ["compositionstart", "compositionend", "enter:229"],
        ["enter:13:composing"],
        ["enter:13:shift"],
    ],
    ids=" ".join,
)
def test_enter_while_composing_sends_nothing(browser: Browser, url: str, events: list[str]) -> None:
    script = """(box, events) => {
        for (const name of events) {
            const [key, code, how] = name.split(":");
            const enter = new KeyboardEvent("keydown", {
                key: "Enter", keyCode: Number(code), bubbles: true, cancelable: true,
                isComposing: how === "composing", shiftKey: how === "shift",
            });
            box.dispatchEvent(key === "enter" ? enter : new CompositionEvent(key));
        }
    }"""
    with Visit(browser, url, "zh-CN") as visit:
        box = visit.page.locator("#text")
        box.fill("你好")
        box.evaluate(script, events)
        visit.page.wait_for_timeout(100)
        assert [r for r in visit.requests if r.method == "POST"] == []
        box.evaluate(script, ["enter:13"])
        visit.await_answers(1)


@LANGUAGES
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_it_fits_its_screen_and_its_theme(
    browser: Browser, url: str, language: str, scheme: str, width: int
) -> None:
    size = {"width": width, "height": 640}
    with Visit(browser, url, language, viewport=size, color_scheme=scheme) as visit:
        page = visit.page
        for count in (1, 2):
            visit.say("a" * 40)
            visit.await_answers(count)
        overflow = page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow == 0
        for button in page.get_by_role("button").all():
            box = button.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 44
        for text in (".user .text", ".assistant .text", ".meta", "#language", ".round"):
            assert contrast(page, text) >= 4.5, text


def contrast(page: Page, selector: str) -> float:
    """WCAG's ratio of an element's colour and the first solid background behind it."""
    colours = page.locator(selector).first.evaluate(
        """element => {
            const ink = getComputedStyle(element).color;
            const paper = () => getComputedStyle(element).backgroundColor;
            while (/, 0\\)$/.test(paper())) element = element.parentElement;
            return [ink, paper()];
        }"""
    )

    def luminance(colour: str) -> float:
        channels = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted(map(luminance, colours))
    return (high + 0.05) / (low + 0.05)
