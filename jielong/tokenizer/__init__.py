"""Text to integers and back: byte-level BPE, special tokens, the chat template."""
