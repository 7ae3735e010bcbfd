"""A served model that writes by a trained encoder and a pretrained decoder, read from its files."""

from pathlib import Path
from shutil import copytree, rmtree

import pandas as pd
import pytest
from seq_cases import STUDY, gists, seq_folder

from pipeline.data.assembling import build_prepared
from pipeline.driver.trials import make_member
from pipeline.serving.predictor import Predictor
from pipeline.study.loading import parse_study
from pipeline.training.loop import train
from pipeline.training.members import architecture_of


@pytest.mark.parametrize(("kind", "finetune"), [("bart", "full"), ("bart", "last_n")])
def test_it_needs_no_file_of_the_study(kind: str, finetune: str, tmp_path: Path) -> None:
    gone = copytree(seq_folder(kind), tmp_path / "gone")
    study = parse_study(STUDY, overrides={
        "model.encoder.path": str(gone), "model.encoder.finetune": finetune, "train.epochs": 16,
        **({"model.encoder.layers": 1} if finetune == "last_n" else {}),
    })  # fmt: skip
    prepared = build_prepared(study.spec, {"notes": gists()}, {})
    member = make_member(study, prepared, 0, {})
    (trained,) = train([member], prepared)
    predictor = Predictor(
        prepared.encoder, architecture_of(member, prepared), trained.tasks, trained.parameters
    )
    asked = pd.concat([gists(9, seed=5)[["body"]], pd.DataFrame({"body": [None, "zebra"]})])
    expected = predictor.predict(asked)
    assert expected["gist"].iloc[-2] == ""
    assert "boat" in " ".join(expected["gist"]) or finetune == "last_n"
    predictor.save(tmp_path / "saved")
    rmtree(gone)
    moved = (tmp_path / "saved").rename(tmp_path / "moved")
    loaded = Predictor.load(moved)
    rmtree(moved)  # as a copy of a remote model, which lasts while it is loaded
    pd.testing.assert_frame_equal(loaded.predict(asked), expected, rtol=1e-4)
    one_by_one = [loaded.predict(asked.iloc[[row]])["gist"].iloc[0] for row in range(len(asked))]
    assert one_by_one == expected["gist"].tolist()
