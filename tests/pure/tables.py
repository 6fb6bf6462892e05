"""The transition tables at the heads of the machines, read as data."""

import re
from collections.abc import Sequence
from typing import Final

#: Cells that say: nothing happens; this cannot come.
NOTHING: Final = "–"
NEVER: Final = "never"


def rows(doc: str, phases: Sequence[str]) -> dict[str, list[str]]:
    """The cells of each row, by its label. The heads of the columns say where the cells begin."""
    table = doc[doc.index("    input ") :].split("\n\n", 1)[0].splitlines()
    begins = [found.start() for found in re.finditer(r"\S+", table[0])]
    assert table[0].split()[1:] == list(phases)
    split = [
        [text[begin:end].strip() for begin, end in zip(begins, [*begins[1:], None], strict=True)] for text in table[1:]
    ]
    read = {label: cells for label, *cells in split}
    assert len(read) == len(split), "two rows of one label"
    return read


def says(cell: str) -> tuple[list[str], str]:
    """The words of a cell, and the phase that it names: "" for none."""
    said, _, after = cell.partition("→")
    return [word for word in said.strip().split(", ") if word not in {NOTHING, ""}], after.strip()
