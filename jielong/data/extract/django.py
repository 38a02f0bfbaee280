"""The documentation of Django: English about building for the web, with its code."""

from collections.abc import Iterable, Iterator

from jielong.data.archives import Member
from jielong.data.documents import Document, pack
from jielong.data.extract import restructured_text

_DOCUMENT_BYTES = 3000
_LEAST_BLOCKS = 3  # fewer are a list of links, or of packages


def documents(members: Iterable[Member]) -> Iterator[Document]:
    """About 3 kB of one page to a document, never cut inside of code; a page is one group."""
    for member in members:
        page = member.name.partition("/docs/")[2].removesuffix(".txt")
        blocks = restructured_text.blocks(member.data.decode())
        if len(blocks) >= _LEAST_BLOCKS:
            for part, text in enumerate(pack(_with_lead(blocks), _DOCUMENT_BYTES)):
                key = f"{page}/{part}"
                yield Document(source="django", key=key, text=text, lang="en", group=page)


def _with_lead(blocks: Iterable[str]) -> Iterator[str]:
    """The blocks, what only announces the next one (a heading, `like this:`) together with it."""
    lead = ""
    for block in blocks:
        if block.startswith("#") or block.endswith(":"):
            lead += f"{block}\n\n"
        else:
            yield lead + block
            lead = ""
    if lead:
        yield lead.rstrip()
