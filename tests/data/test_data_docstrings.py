from pathlib import Path

import pytest

from pipeline.data import docstrings

SOURCE = '''
def shift(array):
    """Shift `numpy.ndarray` values along an axis.

    Elements that roll beyond the last position are introduced again at the first one, and
    the pandas index keeps its order.

    Parameters
    ----------
    array : array_like
        The values that are to be moved somewhere else entirely.

    >>> shift one two three four five six
    """


def _hidden():
    """One.

    This has more than fifteen words and all of them are very plain ones, as far as one sees here.
    """


def short():
    """Too short.

    Few words here only.
    """
'''


def test_prose_without_code_headings_and_names(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(SOURCE)
    assert list(docstrings._documented(file)) == [
        (
            "shift",
            "Shift values along an axis.",
            "Elements that roll beyond the last position are introduced again at the first one, "
            "and the index keeps its order. The values that are to be moved somewhere else "
            "entirely.",
        )
    ]


def test_what_is_no_python_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("def (")
    assert list(docstrings._documented(file)) == []


def test_columns_cost_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docstrings, "_rows_of", None)
    assert docstrings.read(0).columns.tolist() == list(docstrings.COLUMNS)


def test_a_library_that_is_absent_gives_no_row() -> None:
    assert docstrings._rows_of("no_such_library_at_all") == []


def test_a_module_stands_in_one_part_and_its_names_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(docstrings, "LIBRARIES", ("networkx",))
    monkeypatch.setattr(docstrings, "_MOST", 200)
    monkeypatch.setattr(docstrings, "_SUMMARISED", 40)
    table = docstrings.read()
    assert len(table) > 100
    assert set(table["split"]) == {"train", "valid", "test"}
    assert not table["body"].str.contains(r"\b(?:networkx|nx)\b", case=False).any()
    assert table["summary"].notna().sum() == 40
