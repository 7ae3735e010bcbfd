"""Where a pretrained encoder lies: a folder beside the study file or the data, or the hub."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.data.locating import listed
from pipeline.errors import Fault, StudyError, nearest
from pipeline.study.spec import StudySpec
from pipeline.text.pretrained import SAVE, folder_problem

_KEY = "model.encoder.path"
_HUB_NAME = re.compile(r"(?:[A-Za-z0-9_][\w.-]*/)?[A-Za-z0-9_][\w.-]*")  # OWNER/NAME or NAME


def locate_encoder(spec: StudySpec, folder: Path, data_dir: Path | None) -> StudySpec:
    """Returns a study whose pretrained model has its whole path, where it is a folder.

    Looked up as data is: beside the study file, then in the folder of data; a name that is no
    folder is one of the hub.

    Raises:
        StudyError: It is no folder and can be no name of the hub, or no model lies in the folder.
    """
    faults, found = _look(spec, folder, data_dir)
    if faults:
        raise StudyError(faults)
    if found is None:
        return spec
    encoder = replace(spec.model.encoder, path=str(found.resolve()))
    return replace(spec, model=replace(spec.model, encoder=encoder))


def check_encoder(
    spec: StudySpec, folder: Path, data_dir: Path | None
) -> tuple[list[Fault], list[str]]:
    """Returns what is wrong with the path of a pretrained model, and what it is taken for.

    Nothing is loaded; arguments as for `locate_encoder`.
    """
    faults, found = _look(spec, folder, data_dir)
    path = spec.model.encoder.path
    if faults or path is None or found is not None:
        return faults, []
    places = " nor in ".join(map(str, _roots(folder, data_dir)))
    return [], [
        f"`{_KEY}`: there is no folder {path} in {places}, so it is taken as a name of the Hugging "
        "Face hub."
    ]


def _look(spec: StudySpec, folder: Path, data_dir: Path | None) -> tuple[list[Fault], Path | None]:
    path = spec.model.encoder.path
    if path is None:
        return [], None
    places = _places(path, folder, data_dir)
    found = next((place for place in places if place.is_dir()), None)
    if found is not None:
        problem = folder_problem(found)
        return [Fault(_KEY, problem, str(found), SAVE)] if problem else [], found
    file = next((place for place in places if place.is_file()), None)
    if file is not None:
        return [Fault(_KEY, "must be a folder", f"the file {file}", "Name its folder.")], None
    if _HUB_NAME.fullmatch(path):
        return [], None
    rule = "is no folder, and can be no name of the Hugging Face hub, such as OWNER/NAME"
    return [Fault(_KEY, rule, path, _hint(places))], None


def _places(path: str, folder: Path, data_dir: Path | None) -> list[Path]:
    whole = os.path.expanduser(path)  # an absolute path replaces the root
    return list(dict.fromkeys(root / whole for root in _roots(folder, data_dir)))


def _roots(folder: Path, data_dir: Path | None) -> list[Path]:
    roots = [folder, *([] if data_dir is None else [data_dir])]
    return list(dict.fromkeys(root.absolute() for root in roots))


def _hint(places: Sequence[Path]) -> str:
    looked = " and ".join(map(str, places))
    beside = [other.name for place in places for other in listed(place.parent) if other.is_dir()]
    return f"Looked for {looked}. {nearest(places[0].name, beside)}".rstrip()
