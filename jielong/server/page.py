"""The chat page: a handful of files, read once; a request never touches the file system."""

import mimetypes
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.exceptions import HTTPException

_FOLDER = Path(__file__).with_name("static")


def make_page() -> APIRouter:
    """`/` and what it loads."""
    router = APIRouter()
    files = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir())}
    types = {name: _media_type(name) for name in files}

    @router.get("/")
    async def index() -> Response:
        return _response(files["index.html"], types["index.html"])

    @router.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return _response(files[name], types[name])

    return router


def _media_type(name: str) -> str:
    # A machine's own table may call JavaScript anything, and browsers then refuse to run it.
    known = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    return known.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "text/plain"


def _response(content: bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})
