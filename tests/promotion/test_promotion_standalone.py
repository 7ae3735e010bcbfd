"""A model in a clean process, and what is held against it."""

import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.promotion import standalone
from pipeline.promotion.gates import SAME
from pipeline.promotion.standalone import check_standalone, largest_gap, plain_rows
from pipeline.serving.bundle import bundle


def test_rows_are_sent_as_json_can_tell_them() -> None:
    frame = pd.DataFrame(
        {
            "n": [1, 2], "x": [0.1, np.nan], "t": ["a", None], "b": [True, False],
            "when": pd.to_datetime(["2026-01-01", None]), "big": [math.inf, 1e300],
        }
    )  # fmt: skip
    assert plain_rows(frame) == {
        "n": [1, 2], "x": [0.1, None], "t": ["a", None], "b": [True, False],
        "when": ["2026-01-01 00:00:00", None], "big": [None, 1e300],
    }  # fmt: skip


def test_the_largest_gap() -> None:
    answer = {"label": ["a", "b"], "x": [1000.0, math.nan], "p": [0.5, 0.25]}
    assert largest_gap(answer, answer) == 0.0
    # Relative above 1, absolute below; of the first rows that both have.
    assert largest_gap({"x": [1001.0]}, {"x": [1000.0, 7.0]}) == pytest.approx(1e-3)
    assert largest_gap({"p": [0.5]}, {"p": [0.501]}) == pytest.approx(1e-3)
    assert largest_gap({"x": [math.nan]}, {"x": [1.0]}) == math.inf
    assert largest_gap({"label": ["a"]}, {"label": ["b"]}) == math.inf
    assert largest_gap({"a": [1]}, {"b": [1]}) == math.inf


@pytest.mark.parametrize("name", ["model.pkl", "weights.bin", "torch.zip", "arrays.npz"])
def test_a_pickle_is_found_under_any_name(tmp_path: Path, name: str) -> None:
    file, content = tmp_path / name, pickle.dumps({"a": Path()})
    if name.endswith("zip"):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", content)
    elif name.endswith("npz"):
        np.savez(file, a=np.array([{}], dtype=object))
    else:
        file.write_bytes(content)
    assert standalone._is_pickle(file)


def test_what_is_no_pickle_is_none(make_predictor: Callable) -> None:
    with bundle(make_predictor()) as folder:
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert not [path for path in files if standalone._is_pickle(path)]


@pytest.mark.slow
def test_a_model_answers_where_this_package_is_not(
    make_predictor: Callable, raw_rows: pd.DataFrame
) -> None:
    predictor = make_predictor()
    frame = raw_rows.drop(columns="ignored")
    with bundle(predictor) as folder:
        found = check_standalone(folder, frame, predictor.predict, n_timed=20)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert (found.error, found.pickles) == ("", ())
    assert found.gap is not None
    assert found.gap <= SAME
    assert found.latency_ms is not None
    assert 0 < found.latency_ms < 1000
    assert found.size_mb == pytest.approx(size / 1e6)
    assert found.compared == "4 rows alone, 4 at once"


BROKEN = {
    "needs this package": ("import pandas as pd", "import pandas as pd\nimport pipeline",
                           "No module named 'pipeline'"),
    "answers by the batch": ("return self.predictor.predict(model_input)",
                             "answer = self.predictor.predict(model_input)\n"
                             "        return answer.assign(hours=float(len(model_input)))", ""),
    "unpickles": ("return self.predictor.predict(model_input)",
                  "import pickle, decimal\n"
                  "        pickle.loads(pickle.dumps(decimal.Decimal(1)))\n"
                  "        return self.predictor.predict(model_input)", ""),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("what", BROKEN)
def test_what_would_break_an_application_is_found(
    make_predictor: Callable, raw_rows: pd.DataFrame, what: str
) -> None:
    before, after, error = BROKEN[what]
    predictor = make_predictor()
    with bundle(predictor) as folder:
        code = next(folder.rglob("served.py"))
        text = code.read_text()
        assert before in text
        code.write_text(text.replace(before, after, 1))
        frame = raw_rows.drop(columns="ignored")
        found = check_standalone(folder, frame, predictor.predict, n_timed=4)
    assert error in found.error
    if what == "answers by the batch":
        assert found.gap is not None
        assert found.gap > SAME
    if what == "unpickles":
        assert found.pickles == ("decimal.Decimal",)


@pytest.mark.slow
def test_a_model_that_does_not_answer_in_time_is_told(
    make_predictor: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standalone, "_SECONDS", 0.5)
    with bundle(make_predictor()) as folder:
        assert check_standalone(folder, pd.DataFrame()).error == (
            "it did not answer within 0.5 seconds"
        )
