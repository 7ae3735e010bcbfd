"""`mtl ui`: the pages of a study in MLflow's UI, served and opened."""

from __future__ import annotations

import sys
import threading
import webbrowser
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.arguments import need_launched
from pipeline.cli.output import print_json, say
from pipeline.cli.server import listen, serve
from pipeline.serving.listening import HOST

if TYPE_CHECKING:
    from pipeline.driver.study_folder import StudyFolder
    from pipeline.study.loading import Study

_OPENED = "trials"  # the page that is opened in the browser


def ui(
    study: Study,
    folder: Path,
    tracking_uri: str | None,
    port: int | None,
    browse: bool,
    as_json: bool,
) -> None:
    """Serves MLflow's UI until Ctrl-C, and prints where in it the study's results are.

    Of a server only the pages are printed.

    Args:
        study: The study.
        folder: The store.
        tracking_uri: A server or database in place of the store's own database.
        port: To listen on; see `server.listen`.
        browse: Whether to open the user's browser.
        as_json: Print one JSON document in place of lines.

    Raises:
        InputError: The store does not know the study, or the port is taken.
        StoreError: The store or server refused.
    """
    from pipeline.driver.study_folder import StudyFolder
    from pipeline.serving.connection import connect, is_server
    from pipeline.tracking.store import open_store

    files = StudyFolder(folder / "studies", study.spec.name)
    if tracking_uri is not None and is_server(tracking_uri):
        pages = _pages(connect(tracking_uri), study, files)
        _show(tracking_uri.rstrip("/"), pages, as_json)
        _open(f"{tracking_uri.rstrip('/')}/{pages[_OPENED]}", browse)
        return
    need_launched(files, folder)
    store = open_store(folder, tracking_uri)
    pages = _pages(store.client(), study, files)
    with closing(listen(port, folder)) as listening:
        host = f"http://{HOST}:{listening.getsockname()[1]}"
        say("Starting MLflow's UI; Ctrl-C stops it.")

        def ready() -> None:
            _show(host, pages, as_json)
            _open(f"{host}/{pages[_OPENED]}", browse)

        serve(store, listening, ready)
    say("The UI is stopped. The same command starts it again.")


def _pages(client: Any, study: Study, files: StudyFolder) -> Mapping[str, str]:
    from pipeline.driver.choice import choose
    from pipeline.tracking.links import study_pages

    choice = choose(files, study.spec.search.finalists) if files.exists() else None
    promote = study.spec.promote
    return study_pages(
        client, study.spec.name, choice.shipped.run_id if choice else None,
        promote.model or study.spec.name, promote.alias,
    )  # fmt: skip


def _show(host: str, pages: Mapping[str, str], as_json: bool) -> None:
    urls = {name: f"{host}/{page}" for name, page in pages.items()}
    if as_json:
        print_json({"url": host, "pages": urls})
    else:
        width = max(map(len, urls))
        for name, url in urls.items():
            print(f"{name:>{width}}  {url}")
    sys.stdout.flush()


def _open(url: str, browse: bool) -> None:
    if browse:  # in a thread, because a browser in the terminal would keep the server waiting
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
