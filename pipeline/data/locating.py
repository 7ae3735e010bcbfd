"""Finding a source's files, and what identifies their content."""

import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DataError, nearest
from pipeline.study.source_spec import SourceSpec


@dataclass(frozen=True)
class LocatedFile:
    """A file of a source.

    Attributes:
        path: Where it is.
        label: Its path as people know it: below the folder where it was found.
    """

    path: Path
    label: str

    def stamp(self) -> tuple[str, int, int]:
        """Returns path, size and time of change: equal stamps are taken for equal content."""
        found = self.path.stat()
        return str(self.path.resolve()), found.st_size, found.st_mtime_ns


def locate(
    name: str, spec: SourceSpec, folder: Path, data_dir: Path | None
) -> tuple[LocatedFile, ...]:
    """Finds the files of a source, beside the study file first, then in the data folder.

    Args:
        name: The source, for messages.
        spec: Its section of the study file.
        folder: Folder of the study file.
        data_dir: Folder given by `--data` or `MTL_DATA`.

    Raises:
        DataError: A file is missing; the message prints where the data comes from.
    """
    patterns = [spec.path] if isinstance(spec.path, str) else spec.path or []
    if not patterns:
        raise DataError(
            f"Source `{name}` has no data. "
            f"Give `sources.{name}.path` or `builtin` in the study file, or a table from Python."
        )
    roots = [folder, *([data_dir] if data_dir is not None else [])]
    found: list[LocatedFile] = []
    for pattern in patterns:
        matches = next((files for root in roots if (files := list(_matches(root, pattern)))), [])
        if not matches:
            raise DataError(_missing(name, pattern, spec, roots))
        found += matches
    return tuple(found)


def _matches(root: Path, pattern: str) -> Iterator[LocatedFile]:
    whole = root / pattern  # an absolute pattern replaces the root
    if whole.is_file():
        yield LocatedFile(whole, pattern)
        return
    escaped = str(Path(glob.escape(str(root))) / pattern)
    for path in sorted(glob.glob(escaped, recursive=True)):
        if Path(path).is_file():
            inside = Path(path).is_relative_to(root)
            label = str(Path(path).relative_to(root)) if inside else path
            yield LocatedFile(Path(path), label)


def _missing(name: str, pattern: str, spec: SourceSpec, roots: Sequence[Path]) -> str:
    places = " nor in ".join(str(root.resolve()) for root in roots)
    folders = [(root / pattern).parent for root in roots]
    beside = [file.name for folder in folders for file in listed(folder) if file.is_file()]
    meant = f" {nearest(Path(pattern).name, beside)}".rstrip()
    about = f" About this source: {spec.about}" if spec.about else ""
    return (
        f"Source `{name}`: there is no file {pattern} in {places}.{meant} "
        f"Put it there, or name its folder by `--data DIR` or MTL_DATA.{about}"
    )


def listed(folder: Path) -> list[Path]:
    """Returns what is in a folder; nothing where it is absent or may not be read.

    For hints: one that cannot be given must not stand in the way of what it goes with.
    """
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def content_digest(files: Sequence[LocatedFile]) -> str:
    """Returns the SHA-256 of the files' bytes; of several, of their digests."""
    digests = []
    for file in files:
        with file.path.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
