"""Statutes in force, several neighbouring articles of one law to a document."""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from jielong.data.documents import Document, pack

_DOCUMENT_BYTES = 2000
_QUERY = """
    SELECT law_name, chapter, article_no, article_text FROM articles
    WHERE status = '现行有效' ORDER BY law_name, law_id, article_no_arabic, id
"""


class Article(NamedTuple):
    """One article of a law."""

    law: str
    chapter: str | None
    number: str
    text: str


def documents(articles: Iterable[Article]) -> Iterator[Document]:
    """The articles of each law in order, under the name of the law and of the chapter."""
    for law, of_law in groupby(articles, key=lambda article: article.law):
        part = 0
        for chapter, of_chapter in groupby(of_law, key=lambda article: article.chapter):
            head = f"{law} {chapter}" if chapter else law
            texts = (f"{article.number} {article.text}" for article in of_chapter)
            for body in pack(texts, _DOCUMENT_BYTES):
                yield Document(
                    source="laws",
                    key=f"{law}/{part}",
                    text=f"{head}\n\n{body}",
                    lang="zh",
                    group=law,
                )
                part += 1


def parse(data: bytes) -> list[Article]:
    """The articles in force, law by law and in their order."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(data)
        return [Article(*row) for row in connection.execute(_QUERY)]
    finally:
        connection.close()
