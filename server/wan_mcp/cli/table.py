"""Rows of words as lines that stand below one another."""

from collections.abc import Sequence


def lay_out(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Pad the words of each column to the same width."""
    widths = [max(len(word) for word in column) for column in zip(*rows, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
