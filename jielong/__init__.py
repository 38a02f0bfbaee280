"""Jielong (接龙): the whole of ChatGPT, from raw text to an assistant people rank and improve."""

__version__ = "0.1.0"
