"""The scoring server without a network: every format, every fault, what breaks."""

import asyncio
import json
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError, StoreError
from pipeline.serving.bundle import bundle
from pipeline.serving.connection import model_library
from pipeline.serving.listening import App
from pipeline.serving.loading import LoadedModel
from pipeline.serving.server import example_request, listen, make_app

ROWS = {"age": [30, None, 55], "weight": [60, 70.5, 80], "city": ["Bern", "Basel", None]}
RECORDS = [dict(zip(ROWS, row, strict=True)) for row in zip(*ROWS.values(), strict=True)]
SPLIT = {"columns": [*ROWS], "data": [[*record.values()] for record in RECORDS]}


@pytest.fixture
def model(make_predictor: Callable) -> LoadedModel:
    with bundle(make_predictor()) as folder:
        pyfunc = model_library().load_model(str(folder))
    return LoadedModel("small@champion", "m-1", "1", "a" * 32, pyfunc)


@pytest.fixture
def app(model: LoadedModel) -> App:
    return make_app(model)


def ask(app: App, path: str, body: bytes | None = None, kind: str | None = None) -> tuple[int, Any]:
    """Sends a request to the application itself; returns the status and the text or JSON."""
    headers = [] if kind is None else [(b"content-type", kind.encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "path": path,
        "method": "GET" if body is None else "POST", "headers": headers, "query_string": b"",
        "raw_path": path.encode(), "scheme": "http", "root_path": "",
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    sent: list[Any] = []
    waiting = [{"type": "http.request", "body": body or b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop()
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start, text = sent[0], b"".join(message.get("body", b"") for message in sent[1:])
    lengths = [int(value) for name, value in start["headers"] if name == b"content-length"]
    assert lengths in ([], [len(text)])
    try:
        return start["status"], json.loads(text)
    except ValueError:
        return start["status"], text.decode()


def post(app: App, document: Any) -> tuple[int, Any]:
    return ask(app, "/invocations", json.dumps(document).encode(), "application/json")


def test_every_format_gets_the_answers_of_the_model(app: App, model: LoadedModel) -> None:
    frame = pd.DataFrame(ROWS)
    expected = model.predict(frame).to_dict(orient="records")
    for document in (
        {"dataframe_split": SPLIT}, {"dataframe_records": RECORDS}, {"instances": RECORDS},
        {"inputs": ROWS},
    ):  # fmt: skip
        status, found = post(app, document)
        assert status == 200, found
        assert found == {"predictions": expected}
    table = frame.to_csv(index=False).encode()
    assert ask(app, "/invocations", table, "text/csv") == (200, {"predictions": expected})
    parquet = ask(app, "/invocations", frame.to_parquet(), "application/vnd.apache.parquet")
    assert parquet == (200, {"predictions": expected})
    one = {name: values[0] for name, values in ROWS.items()}
    assert post(app, {"inputs": one}) == (200, {"predictions": expected[:1]})


def test_json_needs_no_header(app: App) -> None:
    body = json.dumps({"dataframe_records": RECORDS}).encode()
    assert ask(app, "/invocations", body)[0] == 200
    assert ask(app, "/invocations", body, "text/plain")[0] == 415


def test_it_tells_whether_it_is_well(app: App) -> None:
    assert [ask(app, path)[0] for path in ("/ping", "/health", "/version", "/none")] == [
        200, 200, 200, 404,
    ]  # fmt: skip


FAULTS = {
    "a text where a number belongs": ({"age": "old"}, "Column `age` .* Found 'old' at index 0"),
    "an infinity": ({"weight": float("inf")}, "Column `weight` .* a finite number"),
    "a list in a cell": ({"age": [1, 2]}, "Column `age`"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_value_that_cannot_be_read_is_400_with_its_column(app: App, fault: str) -> None:
    change, words = FAULTS[fault]
    status, error = post(app, {"dataframe_records": [{**RECORDS[0], **change}]})
    assert (status, error["error_code"]) == (400, "BAD_REQUEST")
    assert re.search(words, error["message"]), error["message"]
    assert "stack_trace" not in error
    assert "Failed to predict data" not in error["message"]


def test_a_missing_column_is_400_with_what_may_be_meant(app: App) -> None:
    columns = ["age", "weights", "city"]
    status, error = post(app, {"dataframe_split": {**SPLIT, "columns": columns}})
    assert status == 400
    assert error["message"].startswith(
        "The table lacks the input columns `weight`. Is `weight` there as `weights`? Rename it."
    )


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.just(1e300), st.text(max_size=3),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.just("a"), st.integers()),
)  # fmt: skip
TABLES = st.one_of(
    CELLS,
    st.lists(st.dictionaries(st.sampled_from([*ROWS, "x"]), CELLS), max_size=3),
    st.dictionaries(st.sampled_from([*ROWS, "x"]), st.lists(CELLS, max_size=3)),
    st.fixed_dictionaries(
        {"columns": st.lists(st.sampled_from([*ROWS, "x"]), max_size=4),
         "data": st.lists(st.lists(CELLS, max_size=4), max_size=2)}
    ),
)  # fmt: skip
FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs", "input", "messages")


@settings(max_examples=150, suppress_health_check=["function_scoped_fixture"])
@given(st.dictionaries(st.sampled_from(FORMATS), TABLES, max_size=2))
def test_nothing_that_is_sent_is_called_the_servers_fault(
    app: App, document: dict[str, Any]
) -> None:
    status, found = post(app, document)
    assert status in (200, 400), (status, found)
    assert "stack_trace" not in found
    if status == 400:
        assert "Traceback" not in found["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b'"a"', b"null"])
def test_what_is_no_json_object_is_400(app: App, body: bytes) -> None:
    status, error = ask(app, "/invocations", body, "application/json")
    assert (status, error["error_code"]) == (400, "BAD_REQUEST")


def test_what_breaks_in_the_model_is_500_and_says_so_in_the_log(
    model: LoadedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(frame: pd.DataFrame) -> pd.DataFrame:
        raise RuntimeError("secret of the model")

    pyfunc = SimpleNamespace(metadata=model.pyfunc.metadata, predict=broken)
    status, error = post(make_app(replace(model, pyfunc=pyfunc)), {"dataframe_split": SPLIT})
    assert (status, error["error_code"]) == (500, "INTERNAL_ERROR")
    assert "RuntimeError" in error["message"]
    assert "secret" not in json.dumps(error)
    assert "secret of the model" in capsys.readouterr().err


def test_the_example_is_answered(app: App, model: LoadedModel) -> None:
    request = example_request(model)
    assert request["dataframe_split"]["columns"] == ["age", "weight", "city"]
    status, found = post(app, request)
    assert status == 200
    assert len(found["predictions"]) == 1


def test_a_damaged_model_is_not_served(model: LoadedModel) -> None:
    predictor = model.pyfunc.unwrap_python_model().predictor
    predictor._model = None
    with pytest.raises(StoreError, match="does not answer an example row"):
        example_request(model)


def test_a_port_that_is_taken_is_refused_and_a_free_one_is_found() -> None:
    with listen(None) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"Port {port} of 127\.0\.0\.1 .* give none"):
            listen(port)
        with listen(None) as other:
            assert other.getsockname()[1] != port
    with listen(port) as again:
        assert again.getsockname() == ("127.0.0.1", port)
        assert isinstance(again, socket.socket)
