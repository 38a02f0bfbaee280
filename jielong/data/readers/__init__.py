"""The user's own files: found, opened, decoded, and cut into documents, in flat memory."""
