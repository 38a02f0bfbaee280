"""How `tokenizer.json` files spell bytes: GPT-2's printable stand-in for each of the 256."""

_PRINTABLE = (*range(33, 127), *range(161, 173), *range(174, 256))
_OTHERS = tuple(byte for byte in range(256) if byte not in _PRINTABLE)

CHARACTER_OF = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(256 + i) for i, byte in enumerate(_OTHERS)
}
"""In the order of the ids that a new vocabulary gives them, which is that of the stand-ins."""
BYTE_OF = {character: byte for byte, character in CHARACTER_OF.items()}
