"""Rules between keys that later steps would find too late."""

import pytest

from pipeline.errors import StudyError
from pipeline.study.loading import parse_study

TEXT = """
name: small
sources: {table: {path: table.csv}}
tasks: {size: {kind: regression, target: size}}
"""


@pytest.mark.parametrize("alias", ["latest", "previous", "v2"])
def test_an_alias_that_is_taken_is_refused(alias: str) -> None:
    with pytest.raises(StudyError, match=r"`promote\.alias` must not be") as refused:
        parse_study(TEXT, overrides={"promote.alias": alias})
    assert alias in str(refused.value)


def test_an_alias_that_only_begins_like_a_version_is_fine() -> None:
    assert parse_study(TEXT, overrides={"promote.alias": "v2x"}).spec.promote.alias == "v2x"


@pytest.mark.parametrize("place", ["split", "sources.table.split"])
def test_groups_cannot_be_stratified(place: str) -> None:
    split = {"group": "person", "stratify": "size"}
    with pytest.raises(StudyError, match=f"`{place}.stratify` cannot stand beside `group`"):
        parse_study(TEXT, overrides={place: split})
