import hashlib

from hypothesis import given
from hypothesis import strategies as st

from jielong.data.documents import Document, pack


def test_the_id_is_a_digest_of_source_and_key() -> None:
    document = Document(source="s", key="k", text="文", lang="zh", group="g")
    assert document.id == hashlib.sha256(b"s\x1fk").hexdigest()[:16]
    assert document.size_bytes == 3


def test_parts_are_joined_up_to_the_target() -> None:
    # 4 + 2 + 4 bytes fit into 10, one more part does not.
    assert list(pack(["aaaa", "bbbb", "cccc"], 10)) == ["aaaa\n\nbbbb", "cccc"]
    assert list(pack(["a" * 50, "b"], 10)) == ["a" * 50, "b"]
    assert list(pack([], 10)) == []


@given(st.lists(st.text(alphabet="甲a", min_size=1)), st.integers(1, 40))
def test_packing_loses_and_cuts_nothing(parts: list[str], target: int) -> None:
    packed = list(pack(parts, target, separator="|"))
    assert "|".join(packed).split("|") == (parts or [""])
    assert all(len(text.encode()) <= target or "|" not in text for text in packed)
