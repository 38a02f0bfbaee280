"""What holds for every route: errors, headers, hosts, the queue, and clients that leave."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jielong.core.errors import ConfigError, RunDirectoryError
from jielong.generation.loading import save_model
from jielong.server import openai_api
from jielong.server.app import serve
from tests.serving import NAME, count_steps, serving, speaker

ASK = {"model": NAME, "messages": [{"role": "user", "content": "我们接龙吧"}]}
LONG = 20_000  # tokens: seconds of work, far more than any of these tests waits for


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(speaker("你好"), max_body_bytes=10_000) as url:
        yield url


def wait_until(condition, seconds: float = 5.0) -> bool:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "status", "code"),
    [
        ("GET", "/nowhere", {}, b"", 404, "not_found"),
        ("GET", "/v1/embeddings", {}, b"", 404, "not_found"),
        ("GET", "/static/..%2fapp.py", {}, b"", 404, "not_found"),
        ("GET", "/static/../app.py", {}, b"", 404, "not_found"),
        ("GET", "/v1/chat/completions", {}, b"", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/chat/completions", {"origin": "https://evil.example"}, b"", 405, None),
        ("POST", "/v1/chat/completions", {"content-type": "text/plain"}, b"{}", 415, None),
        ("POST", "/v1/chat/completions", {"content-type": "application/json"}, None, 413, None),
        ("GET", "/", {"host": "evil.example:8000"}, b"", 403, "forbidden_host"),
        ("GET", "/health", {"host": "127.0.0.1.evil.example"}, b"", 403, "forbidden_host"),
    ],
)
def test_a_refusal_has_openais_shape(
    url: str, method: str, path: str, headers: dict, content: bytes | None, status: int, code
) -> None:
    body = b'"' + b"x" * 20_000 + b'"' if content is None else content
    response = httpx.request(method, url + path, headers=headers, content=body)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert code is None or error["code"] == code
    assert "access-control-allow-origin" not in response.headers
    assert httpx.post(f"{url}/v1/chat/completions", json=ASK).status_code == 200


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:80", "192.168.1.7:8000"])
def test_an_address_is_a_welcome_host(url: str, host: str) -> None:
    assert httpx.get(f"{url}/health", headers={"host": host}).status_code == 200


def test_every_response_has_an_id_and_is_locked_down(url: str) -> None:
    for path in ("/", "/static/chat.js", "/health", "/v1/models", "/nowhere"):
        response = httpx.get(url + path)
        assert response.headers["x-request-id"].startswith("req_")
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert response.headers["x-content-type-options"] == "nosniff"
    for sent, kept in (("my.id-1", True), ("a" * 65, False), ("sp ace", False)):
        response = httpx.get(f"{url}/health", headers={"x-request-id": sent})
        assert (response.headers["x-request-id"] == sent) is kept


def test_the_page_loads_nothing_from_elsewhere(url: str) -> None:
    page = httpx.get(url + "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for name, kind in (
        ("chat.js", "text/javascript"),
        ("api.js", "text/javascript"),
        ("strings.js", "text/javascript"),
        ("chat.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
    ):
        response = httpx.get(f"{url}/static/{name}")
        assert response.headers["content-type"].startswith(kind)
        text = response.text.replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text
        assert "innerHTML" not in text
    assert "://" not in page.text


def test_a_stream_that_nobody_reads_stops() -> None:
    assistant = speaker("你好", context=LONG, endless=True)
    steps = count_steps(assistant)
    with serving(assistant) as url:
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=ASK | {"stream": True}) as r:
            next(r.iter_lines())
        time.sleep(1.0)
        done = len(steps)
        time.sleep(0.3)
        assert 0 < done == len(steps) < LONG - 100
        answer = httpx.post(f"{url}/v1/chat/completions", json=ASK | {"max_tokens": 2}).json()
        assert answer["choices"][0]["message"]["content"] == "你好"


def test_an_answer_that_nobody_awaits_stops() -> None:
    assistant = speaker("你好", context=LONG, endless=True)
    steps = count_steps(assistant)
    with serving(assistant) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/chat/completions", json=ASK, timeout=0.3)
        assert steps
        time.sleep(1.0)
        done = len(steps)
        time.sleep(0.3)
        assert done == len(steps) < LONG - 100


def test_a_full_queue_sends_clients_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_api, "_WAIT_COMMENT_S", 0.1)
    assistant = speaker("你好", context=LONG, endless=True)
    address = "/v1/chat/completions"
    forever, short = ASK | {"stream": True}, ASK | {"stream": True, "max_tokens": 2}
    with (
        serving(assistant, waiting=1) as url,
        httpx.Client(base_url=url, timeout=30) as client,
        client.stream("POST", address, json=forever) as running,
    ):
        endless = running.iter_lines()  # dropping the iterator would close the response
        next(endless)
        with client.stream("POST", address, json=short) as second:
            lines = second.iter_lines()
            assert next(lines) == ": wait"
            refused = client.post(address, json=ASK)
            assert refused.status_code == 503
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert refused.json()["error"]["code"] == "queue_full"
            running.close()
            events = [line for line in lines if line.startswith("data: ")]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "你好"


def test_who_leaves_the_queue_gives_the_place_back() -> None:
    assistant = speaker("你好", context=LONG, endless=True)
    address = "/v1/chat/completions"
    with (
        serving(assistant, waiting=1) as url,
        httpx.Client(base_url=url, timeout=30) as client,
        client.stream("POST", address, json=ASK | {"stream": True}) as running,
    ):
        endless = running.iter_lines()
        next(endless)
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):  # it waits: a full queue would answer at once
                client.post(address, json=ASK, timeout=0.3)
            time.sleep(0.3)
        assert next(endless) is not None


def test_a_failing_answer_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    assistant = speaker("你好，很高兴见到")
    steps = count_steps(assistant)

    def break_once(*_: object) -> None:
        if len(steps) in (3, 6):
            raise RuntimeError("cable")

    with serving(assistant) as url:
        handle = assistant.model.norm.register_forward_hook(break_once)
        response = httpx.post(f"{url}/v1/chat/completions", json=ASK)
        assert response.status_code == 500
        assert response.json()["error"]["code"] == "internal"
        assert "cable" not in response.text
        response = httpx.post(f"{url}/v1/chat/completions", json=ASK | {"stream": True})
        assert response.status_code == 200
        events = response.text.strip().split("\n\n")
        assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "internal"
        assert "[DONE]" not in response.text
        handle.remove()
        assert httpx.post(f"{url}/v1/chat/completions", json=ASK).status_code == 200
    assert "cable" in caplog.text
    assert "接龙" not in caplog.text


@pytest.mark.parametrize("stream", [False, True])
def test_closing_the_server_ends_what_runs_and_says_so(stream: bool) -> None:
    assistant = speaker("你好", context=LONG, endless=True)
    steps = count_steps(assistant)
    responses: list[httpx.Response] = []

    def ask() -> None:
        body = ASK | {"stream": stream}
        responses.append(httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30))

    with serving(assistant) as url:
        thread = threading.Thread(target=ask)
        thread.start()
        assert wait_until(lambda: steps)
    thread.join()
    done = len(steps)
    time.sleep(0.1)
    assert done == len(steps) < LONG - 100
    (response,) = responses
    assert response.status_code == (200 if stream else 503)
    last = response.text.strip().split("\n\n")[-1].removeprefix("data: ")
    assert json.loads(last)["error"]["code"] == "shutting_down"


def test_serve_from_a_folder_until_ctrl_c(tmp_path: Path) -> None:
    assistant = speaker("你好")
    save_model(tmp_path / NAME, assistant.model, assistant.tokenizer)
    script = "import sys; from pathlib import Path; from jielong.server.app import serve\n"
    script += "serve(Path(sys.argv[1]), port=0)"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / NAME)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    try:
        lines = iter(process.stderr.readline, "")
        page = next(line for line in lines if line.startswith("chat page"))
        url = page.split()[-1].removesuffix("/")
        # The socket listens before the line is printed, so a request made now waits for the server.
        answer = httpx.post(f"{url}/v1/chat/completions", json=ASK, timeout=30).json()
        assert answer["choices"][0]["message"]["content"] == "你好"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_what_cannot_be_served_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}: cannot listen .*--port"):
            serve(tmp_path, port=port)
    with pytest.raises(ConfigError, match="port: 70000"):
        serve(tmp_path, port=70_000)
    with pytest.raises(RunDirectoryError, match="holds no model"):
        serve(tmp_path, port=0)
