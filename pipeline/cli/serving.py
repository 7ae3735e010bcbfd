"""What is done with a promoted model: answer for a table, answer over HTTP."""

from __future__ import annotations

import json
import shlex
import time

from pipeline.cli.arguments import Arguments, where
from pipeline.cli.output import say


def predict(arguments: Arguments) -> None:
    """Answers for every row of a table."""
    from pipeline.stages.predicting import predict_table

    started = time.monotonic()
    n_rows = predict_table(arguments.model, arguments.table, arguments.output, **where(arguments))
    say(f"Wrote {n_rows} rows to {arguments.output} in {time.monotonic() - started:.1f} s.")


def serve(arguments: Arguments) -> None:
    """Answers over HTTP until Ctrl-C."""
    from pipeline import stages
    from pipeline.serving import server
    from pipeline.serving.listening import HOST

    with server.listen(arguments.port) as taken:  # a port that is taken is told before the work
        model = stages.load_model(arguments.model, **where(arguments))
        request = json.dumps(server.example_request(model), ensure_ascii=False)
        app = server.make_app(model)
        address = f"http://{HOST}:{taken.getsockname()[1]}"
        version = f"version {model.version}, " if model.version else ""
        print(f"{model.uri} ({version}run {model.run_id}) answers at {address}")
        print(f"curl {address}/invocations -H 'Content-Type: application/json' "
              f"-d {shlex.quote(request)}", flush=True)  # fmt: skip
        say(f"{address}/health tells whether it is well. Ctrl-C stops it.")
        try:
            server.serve(app, taken)
        except KeyboardInterrupt:
            say("Stopped.")
