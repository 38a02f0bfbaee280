"""`jielong serve`: one process, one model, an API and a page."""

import asyncio
import hashlib
import socket
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from jielong import __version__
from jielong.core.errors import ConfigError
from jielong.core.progress import say
from jielong.generation.loading import Trained, load_speaker
from jielong.generation.readers import Speaker
from jielong.server.engine_thread import EngineThread
from jielong.server.errors import ApiError, on_api_error, on_http_error
from jielong.server.guard import Guard
from jielong.server.openai_api import Service, make_router
from jielong.server.page import make_page

_SHUTDOWN_S = 5
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def create_app(
    assistant: Trained[Speaker],
    *,
    waiting: int = 32,
    max_body_bytes: int = 2 * 1024 * 1024,
    hosts: Collection[str] = (),
) -> FastAPI:
    """The application: `waiting` requests may queue; `hosts` are the names it may be called by."""
    engine = EngineThread(assistant, waiting)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        engine.close()

    # Its own pages of documentation load scripts from elsewhere.
    app = FastAPI(
        title="Jielong",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.engine = engine
    app.add_middleware(Guard, hosts=hosts)
    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(HTTPException, on_http_error)
    service = Service(assistant, engine, _fingerprint(assistant), max_body_bytes, int(time.time()))
    app.include_router(make_router(service))
    app.include_router(make_page())
    return app


def serve(model: Path, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve the model at `model` until Ctrl-C; port 0 takes any free one."""
    with _listen(host, port) as listener:
        assistant = load_speaker(model)
        hosts = {host, socket.gethostname(), f"{socket.gethostname()}.local"}
        server = make_server(create_app(assistant, hosts=hosts))
        shown_host = f"[{host}]" if ":" in host else host
        url = f"http://{shown_host}:{listener.getsockname()[1]}"
        say(assistant.describe())
        say(f"chat page  {url}/\nAPI        {url}/v1\nCtrl-C ends")
        if host not in _LOOPBACK:
            say(f"{host}: whoever reaches this address can use the model: there are no accounts")
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def make_server(app: FastAPI, shutdown_s: float = _SHUTDOWN_S) -> uvicorn.Server:
    """uvicorn as we run it; answers that are being made at the end get `shutdown_s` seconds."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
    )
    return _Server(config, app.state.engine, shutdown_s)


class _Server(uvicorn.Server):
    """Ends the engine before uvicorn ends the requests: their clients are told, not cut off."""

    def __init__(self, config: uvicorn.Config, engine: EngineThread, shutdown_s: float) -> None:
        super().__init__(config)
        self._engine = engine
        self._shutdown_s = shutdown_s

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, let answers end, then close."""
        asyncio.get_running_loop().call_later(self._shutdown_s, self._engine.close)
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket, taken before the model is loaded: a taken port shows at once."""
    if not 0 <= port < 2**16:
        raise ConfigError(f"port: {port}: must be between 0 and 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"{host}:{port}: cannot listen ({error.strerror or error}): "
            "choose another with --host or --port"
        ) from None


def _fingerprint(assistant: Trained[Speaker]) -> str:
    """Changes when an answer to the same request and seed might."""
    digest = hashlib.sha256(__version__.encode())
    for piece in assistant.tokenizer.token_bytes:
        digest.update(piece + b"\0")
    for name, tensor in sorted(assistant.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return f"fp_{digest.hexdigest()[:16]}"
