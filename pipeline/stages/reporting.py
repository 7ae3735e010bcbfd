"""The report of studies as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.report.html import studies_report
from pipeline.stages.describing import ended_material
from pipeline.stages.session import DEFAULT_STORE, Tables, open_searched
from pipeline.study.loading import Study
from pipeline.tracking.store import Store


def report_studies(
    studies: Study | Sequence[Study],
    comparisons: Sequence[Mapping[str, Any]] = (),
    store: Store | Path | str = DEFAULT_STORE,
    tables: Tables | None = None,
    tracking_uri: str | None = None,
) -> str:
    """Returns the report of studies of the same data as HTML that needs no other file.

    Args:
        studies: One or several, searched before.
        comparisons: What `compare` returned for each; by default what it last found on test.
        store: Where they are recorded.
        tables: Data frames in place of paths.
        tracking_uri: A server in place of the store's database.

    Raises:
        InputError: A study has no finished trial, or the data of two differ.
        ResumeError: A study's settings or data are not those of its search.
    """
    found = []
    for study in [studies] if isinstance(studies, Study) else studies:
        session = open_searched(study, store, tables, tracking_uri)
        state = session.folder.record().get("state", "running")
        found.append(ended_material(session, session.folder.trials(), state))
    if comparisons:
        found = [replace(one, comparison=document)
                 for one, document in zip(found, comparisons, strict=True)]  # fmt: skip
    return studies_report(found)
