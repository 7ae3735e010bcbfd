from collections.abc import Callable
from pathlib import Path

import pandas as pd

from pipeline.serving.bundle import bundle, requirements
from pipeline.serving.connection import model_library


def test_the_folder_holds_no_pickle_and_no_path_of_this_machine(
    make_predictor: Callable, raw_rows: pd.DataFrame, outside: Path
) -> None:
    with bundle(make_predictor(), example=raw_rows) as folder:
        files = [path for path in folder.rglob("*") if path.is_file()]
        names = {path.name for path in files}
        assert {"MLmodel", "served.py", "model.json", "weights.npz", "input_example.json"} <= names
        assert not any(path.suffix in (".pkl", ".pickle", ".pyc", ".pt") for path in files)
        for path in files:
            if path.suffix != ".npz":
                text = path.read_text()
                assert str(folder.parent) not in text, path
                assert str(Path(__file__).parents[2]) not in text, path
                assert "import pickle" not in text
    assert not folder.exists()


def test_the_signature_takes_what_files_give(
    make_predictor: Callable, raw_rows: pd.DataFrame
) -> None:
    predictor = make_predictor()
    columns = list(predictor.columns)
    with bundle(predictor) as folder:
        model = model_library().load_model(str(folder))
        expected = predictor.predict(raw_rows)
        pd.testing.assert_frame_equal(model.predict(raw_rows), expected)
        kinds = {
            "Int64": raw_rows.assign(age=raw_rows["age"].astype("Int64")),
            "category": raw_rows.assign(city=raw_rows["city"].astype("category")),
            "object": raw_rows.astype(object),
            "reordered": raw_rows[columns[::-1]],
        }
        for kind, frame in kinds.items():
            pd.testing.assert_frame_equal(model.predict(frame), expected, obj=kind)
        assert len(model.predict(raw_rows.iloc[:0])) == 0
        assert [spec.name for spec in model.metadata.signature.inputs.inputs] == columns
        outputs = [spec.name for spec in model.metadata.signature.outputs.inputs]
        assert outputs == list(expected.columns)


def test_requirements_are_versions_that_an_index_serves() -> None:
    assert {line.partition("==")[0] for line in requirements()} == {
        "mlflow", "numpy", "pandas", "torch",
    }  # fmt: skip
    assert not any("+" in line for line in requirements())
