import pytest
from driver_cases import prepare_small, small_study

from pipeline.data.prepared import Prepared
from pipeline.study.loading import Study


@pytest.fixture(scope="session")
def study() -> Study:
    return small_study()


@pytest.fixture(scope="session")
def prepared(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare_small(study, tmp_path_factory.mktemp("cache"))
