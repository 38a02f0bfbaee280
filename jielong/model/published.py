"""The GPTs as their papers describe them, in our parts; nothing here has weights.

All have learned positions, layer norm, biases everywhere and the embedding's matrix for the scores.
GPT-1 (Radford et al., 2018) puts its norms after each sub-layer, GPT-2 (Radford et al., 2019) and
GPT-3 (arXiv:2005.14165) before. `jielong/model/sizes.py` counts them.
"""

from dataclasses import dataclass

from jielong.model.config import ModelConfig

GPT1_VOCABULARY = 40_478
GPT2_VOCABULARY = 50_257

_GPT2 = (
    "the paper's figures (117M, 345M, 762M, 1542M) were wrong, as its authors say in openai/gpt-2; "
    "they are what comes out with GPT-1's vocabulary of 40,478 tokens"
)
_GPT3 = (
    "the paper's table 2.1 rounds freely (350M, 13.0B, 175.0B), its table D.1 is the recount; how "
    "wide the bands of every second layer are is not told: 128 here, which only FLOPs feel"
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model of a paper, how many parameters the paper says it has, and what its authors count.

    `note` says where these and the sizes in the paper do not agree; `about` is for its whole
    family.
    """

    name: str
    config: ModelConfig
    paper: str
    recount: str
    note: str = ""
    about: str


def _gpt(vocabulary: int, context: int, layers: int, width: int, heads: int) -> ModelConfig:
    first = vocabulary == GPT1_VOCABULARY
    return ModelConfig(
        vocab_size=vocabulary,
        context=context,
        n_layer=layers,
        width=width,
        n_head=heads,
        n_kv_head=heads,
        ffn_width=4 * width,
        attention="dense sliding:128" if context == 2048 else "dense",
        positions="learned",
        norm="layer",
        norm_place="post" if first else "pre",
        norm_eps=1e-5,
        qk_norm=False,
        ffn="gelu_tanh",
        bias="all",
        dropout=0.1,
    )


def _gpt1() -> Published:
    return Published(
        name="gpt1-117m",
        config=_gpt(GPT1_VOCABULARY, 512, 12, 768, 12),
        paper="117M",
        recount="117M",
        about="its own paper gives no figure; GPT-2's says 117M",
    )


def _gpt2(size: str, layers: int, width: int, heads: int, paper: str) -> Published:
    return Published(
        name=f"gpt2-{size.lower()}",
        config=_gpt(GPT2_VOCABULARY, 1024, layers, width, heads),
        paper=paper,
        recount=size,
        about=_GPT2,
    )


def _gpt3(paper: str, shape: tuple[int, int, int], recount: str, note: str = "") -> Published:
    return Published(
        name=f"gpt3-{paper.lower().replace('.0b', 'b')}",
        config=_gpt(GPT2_VOCABULARY, 2048, *shape),
        paper=paper,
        recount=recount,
        note=note,
        about=_GPT3,
    )


PUBLISHED = (
    _gpt1(),
    _gpt2("124M", 12, 768, 12, "117M"),
    _gpt2("355M", 24, 1024, 16, "345M"),
    _gpt2("774M", 36, 1280, 20, "762M"),
    _gpt2("1558M", 48, 1600, 25, "1542M"),
    # The paper's table 2.1, and the exact count of its table D.1.
    _gpt3("125M", (12, 768, 12), "125M"),
    _gpt3("350M", (24, 1024, 16), "356M"),
    _gpt3("760M", (24, 1536, 16), "760M"),
    _gpt3(
        "1.3B",
        (24, 2048, 16),
        "1320M",
        "table 2.1 has 24 heads of 128 at width 2048, hence 1.52B; 16 heads fit table D.1",
    ),
    _gpt3("2.7B", (32, 2560, 32), "2650M"),
    _gpt3("6.7B", (32, 4096, 32), "6660M"),
    _gpt3(
        "13.0B",
        (40, 5120, 40),
        "12850M",
        "table 2.1 has width 5140 for 40 heads of 128, hence 12.94B; 5120 fits table D.1",
    ),
    _gpt3("175.0B", (96, 12288, 96), "174600M"),
)
"""All of them, the oldest first."""
