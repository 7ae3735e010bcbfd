"""Searches on another device: the same trials, arrays by memory, and what is told and kept."""

from pathlib import Path

import pytest
import torch
from driver_cases import members_of, small_study
from hypothesis import given
from hypothesis import strategies as st
from search_cases import Launcher, check
from stand_in import DEVICE, watch

from pipeline.data.prepared import Prepared
from pipeline.driver import launch, sizing
from pipeline.driver.backend import InProcess
from pipeline.driver.launch import default_workers, make_backend
from pipeline.driver.sizing import array_size, array_sizes
from pipeline.driver.study_folder import StudyFolder
from pipeline.driver.trials import end_of
from pipeline.study.loading import Study
from pipeline.training import calibration
from pipeline.training.calibration import ANSWER_BYTES, Memory, memory_of, most_members
from pipeline.training.devices import CPU
from pipeline.training.placement import Placed


def launcher(study: Study, prepared: Prepared, tmp_path: Path) -> Launcher:
    return Launcher(study, prepared, StudyFolder(tmp_path, study.spec.name))


@pytest.fixture
def tells_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets what asks for a device's memory ask the stand-in."""
    import stand_in

    def restart(device: torch.device) -> None:
        stand_in.account.peak = stand_in.account.n_bytes

    monkeypatch.setattr(calibration, "restart_peak", restart)
    monkeypatch.setattr(calibration, "peak_bytes", lambda device: float(stand_in.account.peak))


def test_a_search_on_a_device_is_the_search_on_a_cpu(
    study: Study, prepared: Prepared, tmp_path: Path
) -> None:
    cases = {}
    for name, device in (("cpu", CPU), ("there", DEVICE)):
        cases[name] = launcher(study, prepared, tmp_path / name)
        with watch():
            trials = cases[name].launch(device=device)
        check(cases[name], trials)
        assert cases[name].folder.record()["devices"] == [device.type]
        assert {trial.device for trial in trials} == {device.type}
        assert {end_of(trial).tags["device"] for trial in trials} == {device.type}
        assert cases[name].said == []
    ours, theirs = (case.folder.trials()[:4] for case in cases.values())
    for one, other in zip(ours, theirs, strict=True):  # of the first cohort, asked without scores
        assert one.params == other.params
        assert (one.seed, one.epochs, one.best_epoch) == (
            other.seed,
            other.epochs,
            other.best_epoch,
        )
        assert one.score == pytest.approx(other.score, abs=1e-4)
    # What is kept is read on any device.
    folder = cases["there"].folder
    for key in folder.models():
        predictor = folder.load_model(key)
        assert predictor is not None
        assert {array.dtype.name for array in predictor.parameters.values()} == {"float32"}


def test_a_study_that_goes_on_elsewhere_says_so(
    study: Study, prepared: Prepared, tmp_path: Path
) -> None:
    case = launcher(study, prepared, tmp_path)
    case.launch(4)
    case.launch(4)
    assert case.said == []
    with watch():
        trials = case.launch(6, device=DEVICE)
    (said,) = case.said
    assert "has trained on cpu and goes on on standin" in said
    assert [trial.device for trial in trials] == ["cpu"] * 4 + ["standin"] * 2
    assert case.folder.record()["devices"] == ["cpu", "standin"]


def test_a_search_goes_on_where_memory_is_short(
    study: Study, prepared: Prepared, tmp_path: Path
) -> None:
    with watch() as account:
        roomy = launcher(study, prepared, tmp_path / "roomy")
        expected = roomy.launch(device=DEVICE)
        peak = account.peak
    assert roomy.said == []
    with watch() as account:
        account.limit = peak - 1
        tight = launcher(study, prepared, tmp_path / "tight")
        found = tight.launch(device=DEVICE)
    assert all("trained again as" in text for text in tight.said)
    assert tight.said
    check(tight, found)
    for one, other in zip(expected, found, strict=True):
        assert one.state == other.state == "complete"
        if one.params == other.params:
            assert one.score == pytest.approx(other.score, abs=1e-4)


def test_one_worker_in_this_process_serves_a_device(study: Study, prepared: Prepared) -> None:
    many = small_study(search__cohort=64)
    assert default_workers(many, device=DEVICE) == 1
    backend = make_backend(prepared, 4, DEVICE)
    assert isinstance(backend, InProcess)
    backend.close()
    assert launch.SearchOptions(1).device == CPU


# --- the size of arrays --------------------------------------------------------------------------


def test_a_gpu_has_no_bound_but_its_memory() -> None:
    assert list(array_sizes(256, 1, largest=256))[-1] == 256
    assert list(array_sizes(256, 1))[-1] == 64


GIB = 2.0**30


@given(
    each=st.floats(1e3, 1e9), common=st.floats(0, 1e9), resting=st.floats(0, 1e7),
    answers=st.floats(0, 1e7), free=st.floats(0, 80 * GIB), cohort=st.integers(1, 512),
)  # fmt: skip
def test_what_is_chosen_fits_and_one_more_would_not(
    each: float, common: float, resting: float, answers: float, free: float, cohort: int
) -> None:
    def held(size: int) -> Memory:
        return Memory(common + size * each, size * resting, size * answers)

    def whole(size: int) -> float:
        return held(size).peak + held(size).answers + cohort * resting + ANSWER_BYTES

    room = calibration.MEMORY_SHARE * free
    found = most_members(held, free, cohort)
    assert 1 <= found <= cohort
    slack = 1 + 1e-6  # of rounding
    if found > 1:
        assert whole(found) <= room * slack
    if found < cohort:
        assert whole(found + 1) * slack >= room


@given(free=st.floats(0, 80 * GIB), more=st.floats(0, 80 * GIB), cohort=st.integers(1, 512))
def test_more_memory_has_room_for_no_fewer(free: float, more: float, cohort: int) -> None:
    def held(size: int) -> Memory:
        return Memory(1e8 + size * 3e7, size * 1e6, size * 1e5)

    assert most_members(held, free, cohort) <= most_members(held, free + more, cohort)


@pytest.mark.usefixtures("tells_memory")
def test_what_one_and_two_members_hold_tells_what_many_hold(
    study: Study, prepared: Prepared
) -> None:
    wide = small_study(model__layers=[64, 32], train__batch_size=32)
    with watch():
        placed = Placed(prepared, DEVICE)
        held = {n: memory_of(members_of(wide, prepared, n), placed) for n in (1, 2, 12)}
    each = held[2].peak - held[1].peak
    assert held[1].peak + 11 * each == pytest.approx(held[12].peak, rel=0.02)
    assert held[12].resting == pytest.approx(12 * held[1].resting)
    n_parameters = (2 + 1) * 64 + (64 + 1) * 32 + (32 + 1) * (2 + 1)  # two colours and a size
    assert held[1].resting == 4 * 4 * n_parameters  # with gradient and two moments, in float32


@pytest.mark.usefixtures("tells_memory")
def test_memory_bounds_the_arrays_of_a_study_and_each_kind_of_device_has_its_own(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(search__cohort=16, search__population="auto")
    folder = StudyFolder(tmp_path, "small")
    said: list[str] = []
    with watch():
        placed = Placed(prepared, DEVICE)
        one, two = (memory_of(members_of(study, prepared, n), placed) for n in (1, 2))
        each = two.peak - one.peak
        needed = ANSWER_BYTES + one.peak + 16 * one.resting + 2.5 * (each + one.answers)
        free = needed / calibration.MEMORY_SHARE
        monkeypatch.setattr(sizing, "free_bytes", lambda device: free)
        found = array_size(study, prepared, folder, 1, device=DEVICE, say=said.append)
    assert said == ["The memory of standin has room for about 3 members at once."]
    assert 1 <= found <= 3
    assert folder.record() == {"population_on_standin": found}
    on_cpu = array_size(study, prepared, folder, 1)
    assert folder.record() == {"population_on_standin": found, "population": on_cpu}


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=["torch", "cublas"],
)
def test_a_size_that_does_not_fit_after_all_is_not_chosen(
    error: Exception, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(search__cohort=16, search__population="auto")

    def measure(members: list[object], *_: object, **__: object) -> float:
        if len(members) > 4:
            raise error
        return 1.0

    monkeypatch.setattr(sizing, "seconds_per_step", measure)
    assert sizing.calibrate(study, prepared, 1) == 4
