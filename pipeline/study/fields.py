"""Types of values that several sections of a study file share."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from pipeline.study.searchable import SEARCHABLE

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=60)]
StudyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Label = bool | int | float | str
Options = dict[str, Annotated[Any, SEARCHABLE]]
