"""From the bytes of a source to documents, one module a source; nothing fetched is ever run."""
