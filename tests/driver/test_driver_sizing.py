from pipeline.driver.sizing import array_sizes, cohort_seconds, fastest_array


def test_sizes_double_up_to_one_array_a_worker() -> None:
    assert list(array_sizes(32, 2)) == [1, 2, 4, 8, 16]
    assert list(array_sizes(12, 1)) == [1, 2, 4, 8, 12]
    assert list(array_sizes(3, 8)) == [1]


def test_the_busiest_worker_decides_how_long_a_cohort_takes() -> None:
    assert cohort_seconds(8, 32, 2, step=0.5) == 1.0  # two arrays on each worker
    assert cohort_seconds(8, 24, 2, step=0.5) == 1.0  # two on one, one on the other
    assert cohort_seconds(16, 32, 2, step=0.5) == 0.5


def test_arrays_grow_where_a_step_hardly_costs_more_for_more_members() -> None:
    assert fastest_array(32, 2, lambda size: 1 + size / 100) == 16
    # Where a member costs as much in any company, small arrays lose nothing.
    assert fastest_array(32, 2, lambda size: float(size)) == 2  # the smallest that is measured
    # A size beyond which the cache is full.
    assert fastest_array(64, 2, lambda size: size * (1.0 if size <= 8 else 1.5) + 1) == 8


def test_many_workers_get_an_array_each_rather_than_full_arrays() -> None:
    assert fastest_array(32, 16, lambda size: 1 + size / 10) == 2


def test_a_close_race_goes_to_the_smaller_array() -> None:
    close = {2: 1.0, 4: 1.5, 8: 2.0, 16: 3.9}  # the cohort: 8.0, 6.0, 4.0, 3.9
    assert fastest_array(16, 1, close.__getitem__) == 8
    assert fastest_array(16, 1, {**close, 16: 3.7}.__getitem__) == 16
