import json
from pathlib import Path

import pytest

from jielong.core import config
from jielong.core.errors import ConfigError, DataError, RunDirectoryError
from jielong.core.run_dir import RunDir
from jielong.data.shards import Shard
from jielong.stages import tokenize
from jielong.stages.tokenize import TokenizeConfig, sample
from jielong.tokenizer.bpe import Tokenizer
from tests.tiny import TEXTS

DOCUMENTS = [
    {"id": f"{i:04}", "text": text * (1 + i % 3), "lang": "en" if text.isascii() else "zh"}
    for i, text in enumerate(TEXTS * 10)
]


def write(file: Path, documents: list[dict[str, str]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
    file.write_text("".join(lines), encoding="utf-8")
    return file


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A finished prepare run, as the stage finds it."""
    path = tmp_path / "prepare"
    settings = TokenizeConfig(run_dir=str(path), documents="")  # any config will do here
    run = RunDir.create(path, stage="prepare", config=settings)
    write(path / "documents" / "train.jsonl", DOCUMENTS[:30])
    write(path / "documents" / "valid.jsonl", DOCUMENTS[30:])
    run.finish({})
    return path


def run(tmp_path: Path, prepared: Path, name: str, **settings: object) -> Path:
    given = {"run_dir": str(tmp_path / name), "documents": str(prepared), "vocab_size": 300}
    return tokenize.run(config.parse(TokenizeConfig, given | settings))


def test_the_shards_hold_the_documents(tmp_path: Path, prepared: Path) -> None:
    path = run(tmp_path, prepared, "run")
    tokenizer = Tokenizer.load(path)
    # Learned from all of the training text, in whatever order.
    assert tokenizer.sha256 == Tokenizer.train((d["text"] for d in DOCUMENTS[:30]), 300).sha256
    for name, documents in (("train", DOCUMENTS[:30]), ("valid", DOCUMENTS[30:])):
        shard = Shard.load(path / f"{name}.npz")
        ends = [*shard.starts[1:], len(shard.tokens)]
        rows = [shard.tokens[a:b].tolist() for a, b in zip(shard.starts, ends, strict=True)]
        assert [row[0] for row in rows] == [tokenizer.special.bos] * len(documents)
        assert [tokenizer.decode(row[1:]) for row in rows] == [d["text"] for d in documents]
        assert shard.languages.tolist() == [d["lang"] for d in documents]
        assert shard.text_bytes.tolist() == [len(d["text"].encode()) for d in documents]
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["valid"]["documents"] == 10
    assert manifest["train"]["bytes"] == sum(len(d["text"].encode()) for d in DOCUMENTS[:30])


def test_parts_make_no_difference_and_leave_nothing(tmp_path: Path, prepared: Path) -> None:
    whole, parts = run(tmp_path, prepared, "whole"), run(tmp_path, prepared, "parts", part_mb=5e-4)
    assert len(tokenize.cut(prepared / "documents" / "train.jsonl", 500)) > 3
    for name in ("train.npy", "train.npz", "valid.npy", "valid.npz"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
    assert not [path for path in parts.iterdir() if "work" in path.name]


def test_shares_are_whole_lines_and_all_of_them(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_bytes(b"".join(b"x" * n + b"\n" for n in (3, 0, 9, 1, 1, 1, 30)))
    data = file.read_bytes()
    for size in range(1, 60):
        shares = tokenize.cut(file, size)
        assert b"".join(data[share.start : share.end] for share in shares) == data
        assert all(data[share.end - 1 : share.end] == b"\n" for share in shares)
    file.write_bytes(b"")
    assert [(share.start, share.end) for share in tokenize.cut(file, 5)] == [(0, 0)]


def test_a_damaged_document_is_named(tmp_path: Path, prepared: Path) -> None:
    with (prepared / "documents" / "valid.jsonl").open("a") as file:
        file.write('{"id": "half')
    with pytest.raises(DataError, match=r"valid\.jsonl:11: damaged"):
        run(tmp_path, prepared, "run")


def test_the_recipe_says_how_text_is_cut(tmp_path: Path, prepared: Path) -> None:
    words = Tokenizer.load(run(tmp_path, prepared, "words", han="words", digits=1))
    assert len(words.pieces("春风 1234")) == 1 + 1 + 4
    characters = Tokenizer.load(run(tmp_path, prepared, "characters", digits=3))
    assert len(characters.pieces("春风 1234")) == 2 + 1 + 2


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"digits": 4}, "digits: 4: choose one of 1, 2, 3"),
        ({"han": "sentences"}, "han: 'sentences': choose one of 'characters', 'words'"),
        ({"sample_mb": -1.0}, "sample_mb: -1.0: must not be negative"),
        ({"documents": "nowhere"}, "nowhere: not a run directory"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, prepared: Path, setting: dict, error: str) -> None:
    with pytest.raises((ConfigError, RunDirectoryError), match=error):
        run(tmp_path, prepared, "run", **setting)


def test_a_sample_takes_equal_shares_of_each_language(tmp_path: Path) -> None:
    """3,000 bytes of Chinese in pieces of 30, 900 of English in pieces of 10."""
    documents = [{"id": f"z{i}", "text": "春" * 10, "lang": "zh"} for i in range(100)]
    documents += [{"id": f"e{i}", "text": "a" * 10, "lang": "en"} for i in range(90)]
    file = write(tmp_path / "train.jsonl", documents)

    def shares(mb: float) -> dict[str, int]:
        taken = list(sample(file, mb))
        return {
            lang: sum(len(d["text"].encode()) for d in taken if d["lang"] == lang)
            for lang in ("zh", "en")
        }

    assert shares(0.0012) == {"zh": 600, "en": 600}
    assert shares(0.01) == {"zh": 3000, "en": 900}
    assert shares(0) == {"zh": 3000, "en": 900}
    chosen = [d["id"] for d in sample(file, 0.0012)]
    backwards = write(tmp_path / "backwards.jsonl", documents[::-1])
    assert sorted(chosen) == sorted(d["id"] for d in sample(backwards, 0.0012))
    assert chosen != [d["id"] for d in documents[:20]] + [d["id"] for d in documents[100:160]]
    with pytest.raises(DataError, match="sample_mb: 1e-06: no document is that small"):
        list(sample(file, 1e-6))


def test_a_sampled_vocabulary_differs_and_repeats(tmp_path: Path, prepared: Path) -> None:
    runs = [Tokenizer.load(run(tmp_path, prepared, name, sample_mb=0.0008)).sha256 for name in "ab"]
    assert runs[0] == runs[1] != Tokenizer.load(run(tmp_path, prepared, "all")).sha256
