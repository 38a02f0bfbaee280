"""Packages that we wrote ourselves, as real archives, and a real server that hands them out."""

import bz2
import gzip
import io
import lzma
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Files = Mapping[str, bytes]
PACKINGS = {"gz": partial(gzip.compress, mtime=0), "bz2": bz2.compress, "xz": lzma.compress}
METADATA = "Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"


def wheel(files: Files, package: str = "self_written", version: str = "1.0") -> bytes:
    """A wheel that pip takes."""
    info = f"{package}-{version}.dist-info"
    told = {
        f"{package}/__init__.py": b"raise SystemExit('this code must not run')",
        f"{info}/METADATA": METADATA.format(package=package, version=version).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    return zipped({**files, **told})


def zipped(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # which has a date that never changes
    return buffer.getvalue()


def tarred(files: Files, links: Mapping[str, str] | None = None, packing: str = "gz") -> bytes:
    """A tar file with folders, files and symbolic links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo("a folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return PACKINGS[packing](buffer.getvalue())


def debian(files: Files, packing: str = "xz") -> bytes:
    """A Debian package: an `ar` file whose first members are of odd and of even length."""
    data = tarred({f"./{name}": content for name, content in files.items()}, packing=packing)
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz/": b"odd",
        f"data.tar.{packing}": data,
    }
    whole = b"!<arch>\n"
    for name, content in members.items():
        header = f"{name:16}{0:<12}{0:<6}{0:<6}{'100644':8}{len(content):<10}`\n"
        whole += header.encode() + content + b"\n" * (len(content) % 2)
    return whole


@dataclass
class Index:
    """What a server hands out, what is wrong with it, and what it was asked for."""

    url: str = ""
    pages: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # path -> (type, content)
    moved: dict[str, str] = field(default_factory=dict)  # path -> the address to go to
    failures: int = 0  # so many times a file is answered with 503
    cut: int = 0  # so many bytes at the end of a file are never sent
    asked: list[str] = field(default_factory=list)
    passwords: list[str | None] = field(default_factory=list)

    def count(self, path: str) -> int:
        """How often `path` was asked for."""
        return self.asked.count(path)


@contextmanager
def serving(index: Index) -> Iterator[Index]:
    """Serve `index` on the loopback, and tell it its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(self.path)
            index.passwords.append(self.headers["Authorization"])
            if self.path in index.moved:
                self.answer(302, "text/plain", b"", Location=index.moved[self.path])
            elif self.path not in index.pages:
                self.answer(404, "text/plain", b"not found")
            else:
                kind, body = index.pages[self.path]
                index.failures -= self.path.startswith("/files")
                if self.path.startswith("/files") and index.failures >= 0:
                    self.answer(503, "text/plain", b"busy")
                else:
                    self.answer(200, kind, body)

        def answer(self, status: int, kind: str, body: bytes, **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            is_cut = index.cut and self.path.startswith("/files")
            self.wfile.write(body[: -index.cut] if is_cut else body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
