"""Every failure as OpenAI's clients expect it: {"error": {message, type, param, code}}."""

import json
import re
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

INVALID = "invalid_request_error"
SERVER = "server_error"
_SHOWN = 80
_STATUS_CODES = {404: "not_found", 405: "method_not_allowed"}


class ApiError(Exception):
    """A refused or failed request: what the client is told, and with which status."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = "invalid_value",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}

    def response(self) -> JSONResponse:
        """The answer to send instead of a result."""
        return JSONResponse(self.body, self.status, self.headers)


def busy(message: str, code: str, retry_after_s: int) -> ApiError:
    """The server cannot take this now; official clients wait `retry_after_s` and retry."""
    headers = {"retry-after": str(retry_after_s)}
    return ApiError(message, status=503, kind=SERVER, code=code, headers=headers)


def internal() -> ApiError:
    """A bug of ours, without its inner life: paths and stacks are for the log."""
    return ApiError(
        "the server failed to answer: its log says why",
        status=500,
        kind=SERVER,
        code="internal",
    )


def unreadable(error: ValidationError) -> ApiError:
    """The first of pydantic's complaints as one line: path, value, rule."""
    first = error.errors(include_url=False, include_context=False)[0]
    rule = re.sub(r"^(Input|String|Value) ", "", first["msg"])
    if first["type"] == "json_invalid":
        return ApiError(f"body: {rule}: send one JSON object", code="invalid_json")
    param = dotted(first["loc"])
    if first["type"] == "missing":
        return ApiError(f"{param}: missing: it is required", param=param)
    return ApiError(f"{param or 'body'}: {shown(first['input'])}: {rule}", param=param)


def dotted(location: tuple[int | str, ...]) -> str | None:
    """`messages[2].content[0].type`; tags in parentheses name a branch of a union, not a place."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith("("):
            path += f".{part}" if path else part
    return path or None


def shown(value: Any) -> str:  # noqa: ANN401 - whatever was sent
    """A value as JSON, cut to a readable length."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


async def on_api_error(_: Request, error: Exception) -> JSONResponse:
    """FastAPI's handler for what our routes raise."""
    return error.response() if isinstance(error, ApiError) else internal().response()


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's handler for what its router raises: unknown paths and methods."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else None
    path = shown(request.url.path)
    message = {
        404: f"{path}: nothing here: the API is under /v1, the chat page at /",
        405: f"{request.method} {path}: this path takes another method",
    }.get(status, f"{path}: refused")
    code = _STATUS_CODES.get(status, "invalid_value")
    return ApiError(message, status=status, code=code, headers=headers).response()
