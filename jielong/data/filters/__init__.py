"""Cleaning steps for one document each: what language, what quality, and what must be masked."""
