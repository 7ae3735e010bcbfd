from pipeline.stages.session import LongWork


def test_long_work_is_told_every_few_seconds_only() -> None:
    told: list[str] = []
    times = iter([0.0, 1.0, 6.0, 8.0, 12.0])
    tell = LongWork(told.append, lambda: next(times))
    for done in (1000, 2000, 3000, 4000):
        tell("Weighing terms, documents", done, 16407)
    assert told == [
        "Weighing terms, documents: 2,000 of 16,407", "Weighing terms, documents: 4,000 of 16,407",
    ]  # fmt: skip
