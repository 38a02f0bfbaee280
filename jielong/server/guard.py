"""What holds for every response: who may ask, its id, its security headers, and no bare crash."""

import ipaddress
import logging
import re
import secrets
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jielong.server.errors import ApiError, internal, shown

_log = logging.getLogger("jielong.server")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(:\d{1,5})?")
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Guard:
    """Wraps the whole application. Plain ASGI: it stands between the model and every token."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        has_started = False
        request_id = asked.get("x-request-id", "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = f"req_{secrets.token_hex(12)}"

        async def send_with_headers(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers.update(SECURITY_HEADERS)
            await send(message)

        try:
            if self._is_welcome(asked.get("host", "")):
                await self._app(scope, receive, send_with_headers)
            else:
                response = _stranger(asked.get("host", "")).response()
                await response(scope, receive, send_with_headers)
        except Exception:
            if has_started:
                raise
            _log.exception("a request failed")
            await internal().response()(scope, receive, send_with_headers)

    def _is_welcome(self, host: str) -> bool:
        """An address, this machine, or a name we were told.

        A page elsewhere can make its own name point at this machine and then read what we answer;
        it cannot make the browser send another Host than its own.
        """
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["name"].lower().rstrip(".")
        if name == "localhost" or name.endswith(".localhost") or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


def _stranger(host: str) -> ApiError:
    return ApiError(
        f"host: {shown(host)}: not a name of this server: use its address",
        status=403,
        kind="permission_error",
        code="forbidden_host",
    )
