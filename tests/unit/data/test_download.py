"""Plain downloads, from a real server on the loopback."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jielong.data import download
from jielong.data.download import Place, TransferError, all_refused, get, save
from tests.packages import Index, serving

CONTENT = os.urandom(3 << 20)  # more than one chunk


@pytest.fixture
def index() -> Iterator[Index]:
    with serving(Index(pages={"/files/own": ("binary/x", CONTENT)})) as running:
        yield running


def refusal(place: Place, target: Path) -> TransferError:
    with pytest.raises(TransferError) as caught:
        save(place, target)
    return caught.value


def test_a_file_comes_whole(index: Index, tmp_path: Path) -> None:
    save(Place(f"{index.url}/files/own"), tmp_path / "own")
    assert (tmp_path / "own").read_bytes() == CONTENT


def test_redirects_are_followed_but_not_to_a_file(index: Index, tmp_path: Path) -> None:
    index.moved["/here"] = "/there"
    index.moved["/there"] = f"{index.url}/files/own"
    save(Place(f"{index.url}/here"), tmp_path / "own")
    assert (tmp_path / "own").read_bytes() == CONTENT
    (tmp_path / "secret").write_text("secret")
    index.moved["/there"] = (tmp_path / "secret").as_uri()
    assert refusal(Place(f"{index.url}/here"), tmp_path / "own")
    index.moved["/there"] = "/here"
    assert refusal(Place(f"{index.url}/here"), tmp_path / "own")


def test_a_file_that_breaks_off(index: Index, tmp_path: Path) -> None:
    index.cut = 10
    error = refusal(Place(f"{index.url}/files/own"), tmp_path / "own")
    assert str(error) == f"{index.url}/files/own broke off after 3145718 of 3145728 bytes"
    assert error.may_pass


def test_a_file_without_end(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_LARGEST_BYTES", 2_000_000)
    error = refusal(Place(f"{index.url}/files/own"), tmp_path / "own")
    assert "larger than 2,000,000 bytes" in str(error)
    assert not error.may_pass
    with pytest.raises(TransferError, match="larger than 1,000 bytes"):
        get(Place(f"{index.url}/files/own"), accept="*/*", limit=1000)


def test_what_may_pass_and_what_will_not(index: Index, tmp_path: Path) -> None:
    index.failures = 1
    busy = refusal(Place(f"{index.url}/files/own"), tmp_path / "own")
    gone = refusal(Place(f"{index.url}/none"), tmp_path / "own")
    nobody = refusal(Place("http://127.0.0.1:9/own"), tmp_path / "own")
    no_address = refusal(Place("nonsense"), tmp_path / "own")
    assert [e.may_pass for e in (busy, gone, nobody, no_address)] == [True, False, True, False]
    assert str(busy) == f"{index.url}/files/own answered 503"
    assert str(gone) == f"{index.url}/none answered 404"
    assert "refused" in str(nobody)
    both = all_refused([gone, busy, gone])
    assert str(both) == f"{gone}; {busy}"
    assert both.may_pass


def test_an_answer_that_is_no_http(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"what?\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        error = refusal(Place(f"http://127.0.0.1:{listener.getsockname()[1]}/"), tmp_path / "own")
        thread.join()
    assert error.may_pass
    assert "what?" in str(error)


def test_a_password_is_not_told(tmp_path: Path) -> None:
    error = refusal(Place("http://me:secret@127.0.0.1:9/own"), tmp_path / "own")
    assert "secret" not in str(error)
    assert "http://127.0.0.1:9/own" in str(error)


def test_a_disk_that_refuses_is_no_trouble_of_the_network(index: Index, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        save(Place(f"{index.url}/files/own"), tmp_path / "none" / "own")
