"""A model whose every word is known beforehand, and a real server around a model."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import torch

from jielong.generation.loading import Assistant
from jielong.model.config import ModelConfig
from jielong.model.transformer import Transformer
from jielong.server.app import create_app, make_server
from jielong.tokenizer.bpe import Tokenizer

TEXTS = ["你好，很高兴见到你！我们接龙吧。Hello there, my friend.\n"] * 20
NAME = "speaker"


def speaker(text: str, *, context: int = 256, endless: bool = False) -> Assistant:
    """Answers everything with `text`, whatever is asked; `endless` begins it again and again.

    One-hot embeddings and a table of followers as the head: each token's score is highest after the
    token before it in `text`, so no token may come twice.
    """
    tokenizer = Tokenizer.train(TEXTS, 400)
    special, ids = tokenizer.special, tokenizer.encode(text)
    assert len(set(ids)) == len(ids), "a token comes twice"
    size = tokenizer.vocab_size
    width = -(-size // 4) * 4
    model = Transformer(
        ModelConfig(
            vocab_size=size,
            context=context,
            n_layer=1,
            width=width,
            n_head=2,
            n_kv_head=1,
            ffn_width=4,
            tied=False,
        )
    )
    assert model.head is not None
    with torch.no_grad():
        model.embedding.weight.copy_(torch.eye(size, width))
        model.head.weight.zero_()
        end = ids[0] if endless else special.eos
        for token, follower in zip([special.assistant, *ids], [*ids, end], strict=True):
            model.head.weight[follower, token] = 100.0
    return Assistant(NAME, model.eval(), tokenizer)


def count_steps(assistant: Assistant) -> list[int]:
    """A list that grows by one entry at each forward pass of the model from now on."""
    steps: list[int] = []
    assistant.model.norm.register_forward_hook(lambda *_: steps.append(1))
    return steps


@contextlib.contextmanager
def serving(assistant: Assistant, **settings: int) -> Iterator[str]:
    """The URL of a server for `assistant`; `settings` go to `create_app`."""
    server = make_server(create_app(assistant, **settings), shutdown_s=0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline_s = time.monotonic() + 30
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                assert time.monotonic() < deadline_s, "the server takes too long to start"
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=30)
            assert not thread.is_alive(), "the server did not stop"
