"""Texts as they come: a search over rows that are odd in every way ends, and says what it met."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from cli_cases import Done, mtl
from encoder_cases import model_folder

from pipeline import search, train
from pipeline.errors import DataError
from pipeline.serving.loading import LoadedModel
from pipeline.serving.server import example_request
from pipeline.stages.session import Session, open_searched
from pipeline.stages.trials import find_trial, model_of
from pipeline.study.loading import parse_study
from pipeline.tracking.store import Store

STUDY = """
name: odd_texts
sources: {letters: {path: letters.csv, text: body, about: "Made up."}}
tasks:
  gist: {kind: summarisation, target: gist, text: body, title: head, metric: rouge1,
         budget: {sentences: 1}}
  grade: {kind: binary, target: grade}
split: {column: part}
model: {layers: [4], encoder: {width: 8}, dropout: {low: 0.0, high: 0.3}}
train: {epochs: 2, batch_size: 64, lr: 0.01}
search: {trials: 2, cohort: 2, finalists: null, keep: 1}
"""
LONG = 200_000


def letters(n_rows: int = 48) -> pd.DataFrame:
    """Letters of four sentences; the gist is their longest."""
    draw = np.random.default_rng(1)
    words = ["river", "stone", "cloud", "apple", "tower", "light", "paper", "horse"]

    def sentence(n_words: int) -> str:
        return " ".join(draw.choice(words, n_words)).capitalize() + "."

    rows = []
    for number in range(n_rows):
        long = sentence(9)
        rows.append(
            {
                "body": " ".join([sentence(4), long, sentence(4)]), "gist": long,
                "head": " ".join(long.split()[:2]), "grade": ["good", "bad"][number % 2],
                "part": ["train", "train", "valid", "test"][number % 4],
            }
        )  # fmt: skip
    return pd.DataFrame(rows).astype(object)


ODD: dict[str, dict[tuple[int, str], Any]] = {
    "empty documents": {(0, "body"): None, (1, "body"): "", (2, "body"): " ... ", (3, "body"): ""},
    "a very long document": {(4, "body"): "river stone cloud. " * (LONG // 3)},
    "one very long word": {(5, "body"): "x" * (5 * LONG)},
    "control characters": {(8, "body"): "river \x00stone\x07 cloud. Apple \x1b[0m tower."},
    "half characters": {(9, "body"): "river \ud83d stone.", (9, "gist"): "\ud83d river stone",
                        (9, "head"): "\udead"},
    "HTML": {(12, "body"): "<p>River &amp; stone.</p><script>x</script> <b>Cloud</b> apple."},
    "lists of sentences": {(18, "body"): ["River stone.", None, "Apple tower. " + "Horse " * 9],
                           (18, "head"): ["River", "stone"]},
    "missing references": {(13, "gist"): None, (14, "gist"): "?!", (15, "gist"): "<br>"},
    "long references": {(16, "gist"): "river stone " * 300, (17, "gist"): ["river", "stone"]},
}  # fmt: skip
TOLD = (
    "3 rows have no reference in `gist`", "4 rows have no word in `body`",
    "4 rows have a reference that is longer than the document",
    "1 rows are so long that only their first pieces are summarised",
    "4 of 48 documents have no word (2 of train, 1 of valid, 1 of test)",
    "1 of 48 documents hold tags or entities of HTML",
    "2 of 48 documents hold control characters or broken ones",
    f"The longest document has {LONG // 3 * 19:,} characters",
)  # fmt: skip


@pytest.fixture(scope="module")
def searched(store: Store) -> tuple[Session, list[str]]:
    table = letters()
    for cells in ODD.values():
        for (row, column), cell in cells.items():
            table.at[row, column] = cell
    said: list[str] = []
    study, tables = parse_study(STUDY), {"letters": table}
    found = search(study, n_workers=1, store=store, tables=tables, say=said.append)
    assert found["trials"]["complete"] + found["trials"]["pruned"] == 2
    return open_searched(study, store, tables), said


@pytest.mark.parametrize("sentence", TOLD)
def test_a_search_handles_odd_rows_and_counts_them(
    searched: tuple[Session, list[str]], sentence: str
) -> None:
    assert any(sentence in line for line in searched[1]), searched[1]


@pytest.mark.parametrize("what", [what for what in ODD if "references" not in what])
def test_the_model_answers_odd_rows(searched: tuple[Session, list[str]], what: str) -> None:
    session = searched[0]
    table = letters()
    for (row, column), cell in ODD[what].items():
        table.at[row, column] = cell
    rows = sorted({row for row, _ in ODD[what]})
    model = model_of(session, find_trial(session, "best"), lambda text: None)
    answers = model.predict(table.iloc[rows][["body", "head"]])
    assert answers["grade"].isin(["good", "bad"]).all()
    for gist in answers["gist"]:
        assert not set(gist) & set("<\x00\x07\ud83d\udead")
    if what == "lists of sentences":
        body = "\n\n".join(text for text in ODD[what][18, "body"] if text)
        joined = pd.DataFrame({"body": [body], "head": ["River\n\nstone"]})
        assert answers.to_dict("records") == model.predict(joined).to_dict("records")
        assert answers["gist"].iloc[0] in (
            "River stone.",
            "Apple tower light.",
            ("Horse " * 9).strip(),
        )
    if what == "empty documents":
        assert answers["gist"].tolist() == [""] * 4


def test_an_example_request_has_the_columns_of_a_table(searched: tuple[Session, list[str]]) -> None:
    predictor = model_of(searched[0], find_trial(searched[0], "best"), lambda text: None)
    pyfunc = SimpleNamespace(unwrap_python_model=lambda: SimpleNamespace(predictor=predictor))
    loaded = SimpleNamespace(
        columns=predictor.columns, predict=predictor.predict, pyfunc=pyfunc, uri="odd"
    )
    request = example_request(cast(LoadedModel, loaded))["dataframe_split"]
    assert request["columns"] == ["body", "head"]


def test_a_table_without_documents_or_titles_is_refused(
    searched: tuple[Session, list[str]],
) -> None:
    model = model_of(searched[0], find_trial(searched[0], "best"), lambda text: None)
    table = letters(4)[["body", "head"]]
    with pytest.raises(DataError, match=r"lacks the input columns `body`\. Is .* there as `bodi`"):
        model.predict(table.rename(columns={"body": "bodi"}))
    with pytest.raises(DataError, match=r"lacks the input columns `head`.*empty where"):
        model.predict(table[["body"]])


def test_rows_of_another_source_are_answered_without_documents(store: Store) -> None:
    sources = "{letters: {text: body}, memos: {text: memo}}"
    text = STUDY.replace('{letters: {path: letters.csv, text: body, about: "Made up."}}', sources)
    text = text.replace("grade: {kind: binary", "grade: {kind: binary, source: memos")
    text = text.replace("gist: {kind: summarisation", "gist: {kind: summarisation, source: letters")
    tables = {"letters": letters(), "memos": letters().rename(columns={"body": "memo"})}
    study = parse_study(text, overrides={"name": "two_of_them"})
    model = train(study, store=store, tables=tables, say=lambda line: None).predictor
    assert model is not None
    answers = model.predict(pd.DataFrame({"memo": ["River stone.", ""]}))
    assert answers["gist"].tolist() == ["", ""]
    assert answers["grade"].isin(["good", "bad"]).all()
    with pytest.raises(DataError, match="lacks the input columns `memo`, `body`"):
        model.predict(pd.DataFrame({"text": ["River stone."]}))


def refused(folder: Path, text: str, table: bytes | None = None) -> Done:
    """Prepares a study of a file that cannot be used, and looks that nothing was left."""
    if table is None:
        letters().to_csv(folder / "letters.csv", index=False)
    else:
        (folder / "letters.csv").write_bytes(table)
    (folder / "study.yaml").write_text(text)
    done = mtl("search", folder / "study.yaml", "--store", folder / "store")
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert not (folder / "store").exists()
    return done


def test_bytes_that_are_no_utf8_are_named_by_row(tmp_path: Path) -> None:
    head = b"body,gist,head,grade,part\n"
    rows = b'"One\nhere.",One.,o,good,train\nCaf\xe9 there.,Caf.,c,bad,test\n'
    done = refused(tmp_path, STUDY, head + rows)
    assert "row 2, line 4 is not UTF-8" in done.err
    assert "Save the file as UTF-8" in done.err


def test_a_path_without_a_tokenizer_says_how_to_save_one(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "model" / name).symlink_to(model_folder() / name)
    done = refused(tmp_path, STUDY.replace("width: 8", "path: model, width: 8"))
    assert "`model.encoder.path` must hold a tokenizer" in done.err
    assert "tokenizer.save_pretrained" in done.err


def test_a_hub_name_without_a_network_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Read from the environment when first imported, which may have been in another test.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    done = refused(tmp_path, STUDY.replace("width: 8", "path: nobody/no-such-model, width: 8"))
    assert "as a name of the Hugging Face hub it could not be fetched" in done.err
    assert "Give the path of a downloaded model" in done.err


def test_a_hub_that_cannot_be_reached_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("asked again"))
    done = refused(tmp_path, STUDY.replace("width: 8", "path: nobody/no-such-model, width: 8"))
    assert "as a name of the Hugging Face hub it could not be fetched" in done.err
    assert "Retry" not in done.err + capfd.readouterr().err


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("./modell", "is no folder, and can be no name of the Hugging Face hub"),
        ("a/b/c", "is no folder, and can be no name of the Hugging Face hub"),
        ("~nobody-here/model", "is no folder, and can be no name of the Hugging Face hub"),
        ("letters.csv", "must be a folder. Found the file"),
        ("empty", "must hold a Hugging Face model: it has no config.json"),
    ],
)
def test_a_path_that_cannot_be_a_model_is_told_by_check_too(
    tmp_path: Path, path: str, told: str
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "empty").mkdir()
    text = STUDY.replace("width: 8", f"path: {path}, width: 8")
    for words in (refused(tmp_path, text).err, mtl("check", tmp_path / "study.yaml").err):
        assert f"`model.encoder.path` {told}" in words
        assert path != "./modell" or "Did you mean `model`?" in words


@pytest.mark.parametrize("path", ["minilm", "owner/minilm"])
def test_check_says_what_it_takes_for_a_name_of_the_hub(tmp_path: Path, path: str) -> None:
    letters().to_csv(tmp_path / "letters.csv", index=False)
    (tmp_path / "study.yaml").write_text(STUDY.replace("width: 8", f"path: {path}, width: 8"))
    done = mtl("check", tmp_path / "study.yaml")
    assert done.code == 0
    assert f"there is no folder {path} in {tmp_path}, so" in done.out
    assert "taken as a name of the Hugging Face hub" in done.out


def test_a_training_by_hand_says_what_it_met(store: Store) -> None:
    said: list[str] = []
    table = letters()
    table.at[0, "gist"] = None
    study = parse_study(STUDY, overrides={"name": "by_hand"})
    train(study, store=store, tables={"letters": table}, say=said.append)
    assert any("1 rows have no reference" in line for line in said), said


def test_documents_without_any_word_are_refused(tmp_path: Path) -> None:
    table = letters().assign(body="--").to_csv(index=False).encode()
    assert "must have a document in `body`" in refused(tmp_path, STUDY, table).err
