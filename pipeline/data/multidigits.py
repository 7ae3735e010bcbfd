"""MultiDigits: two overlapping handwritten digits in one small picture, three tasks.

The small form of MultiMNIST (Sabour et al., 2017): scikit-learn's bundled 8x8 digits (UCI Optical
Recognition of Handwritten Digits, CC BY 4.0) stand side by side, overlap by half a digit and each
move by up to one pixel, so that a linear model is clearly worse than a network. A digit image is
used in one part of the split only.
"""

from random import Random
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SIDE = 8  # of one digit
HEIGHT, WIDTH = 9, 12  # of the picture
N_ROWS = {"train": 4000, "valid": 1000, "test": 1500}
_SHARES = {"train": 0.65, "valid": 0.15, "test": 0.20}  # of the 1,797 digit images
_SEED = 0
COLUMNS = (*(f"p{i}" for i in range(HEIGHT * WIDTH)), "left", "right", "total", "split")


def read(n_rows: int | None = None, progress: Any = None) -> pd.DataFrame:
    """Returns the table: pixels `p0..p107` (0 to 16), `left`, `right`, `total` and `split`.

    Args:
        n_rows: Rows of the head that are wanted; 0 gives the columns without importing
            scikit-learn.
        progress: Not told: it takes a second.
    """
    if n_rows == 0:
        return pd.DataFrame(columns=list(COLUMNS))
    from sklearn.datasets import load_digits  # takes a second to import

    digits = load_digits()
    images = digits.images.astype(np.int64)  # (1797, 8, 8)
    random = Random(_SEED)
    tables = [
        _pairs(images, digits.target, chosen, part, random)
        for part, chosen in _image_parts(len(images), random).items()
    ]
    return pd.concat(tables, ignore_index=True).head(n_rows or sum(N_ROWS.values()))


def _image_parts(n_images: int, random: Random) -> dict[str, list[int]]:
    # Sorting by `random()` and not `shuffle`: only the former is promised to stay the same.
    order = sorted(range(n_images), key=lambda _: random.random())
    parts, start, share = {}, 0, 0.0
    for part, part_share in _SHARES.items():
        share += part_share
        stop = round(share * n_images)
        parts[part] = order[start:stop]
        start = stop
    return parts


def _pairs(
    images: NDArray[Any], labels: NDArray[Any], chosen: list[int], part: str, random: Random
) -> pd.DataFrame:
    n_rows = N_ROWS[part]
    drawn = [chosen[int(random.random() * len(chosen))] for _ in range(2 * n_rows)]
    left, right = np.array(drawn).reshape(2, n_rows)
    canvas = np.zeros((n_rows, HEIGHT, WIDTH), dtype=np.int64)
    for row in range(n_rows):
        _draw(canvas[row], images[left[row]], random, at_right=False)
        _draw(canvas[row], images[right[row]], random, at_right=True)
    frame = pd.DataFrame(canvas.reshape(n_rows, -1), columns=list(COLUMNS[: HEIGHT * WIDTH]))
    return frame.assign(
        left=labels[left], right=labels[right], total=labels[left] + labels[right], split=part
    )


def _draw(picture: NDArray[Any], digit: NDArray[Any], random: Random, at_right: bool) -> None:
    down, inward = int(random.random() * 2), int(random.random() * 2)
    column = WIDTH - SIDE - inward if at_right else inward
    place = picture[down : down + SIDE, column : column + SIDE]
    np.maximum(place, digit, out=place)
