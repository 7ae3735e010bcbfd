"""The text of a cell, the same where a model is trained and where it answers."""

from typing import Any

import numpy as np
import pandas as pd

PARAGRAPH = "\n\n"
"""Between texts that are read one after the other: a sentence ends there."""


def cell_text(cell: Any) -> str:
    """Returns the text of a cell, empty where it is missing; see `whole_text`."""
    found = whole_text(cell)
    return "" if not isinstance(found, str) and pd.isna(found) else str(found)


def whole_text(cell: Any) -> Any:
    """Returns a list of texts, such as sentences, as one text of as many paragraphs.

    A list of other things becomes the text that Python shows; anything else is returned as it is.
    """
    if not isinstance(cell, list | tuple | np.ndarray):
        return cell
    texts = [text for text in cell if text is not None]
    return PARAGRAPH.join(texts) if all(isinstance(text, str) for text in texts) else str(cell)
