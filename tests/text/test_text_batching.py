"""Documents are read in batches of a bounded size, and each batch is told when its work is done."""

from pipeline.text.batching import batches, batches_of


def test_a_very_long_document_is_one_batch() -> None:
    texts = ["a b", "word " * 200_000, "c"]
    assert [*batches(texts)] == [slice(0, 1), slice(1, 2), slice(2, 3)]


def test_a_batch_has_about_so_many_characters() -> None:
    assert [*batches(["ab", "cd", "e", "fgh"], n_characters=4)] == [slice(0, 2), slice(2, 4)]
    assert [*batches([])] == []


def test_a_batch_has_so_many_documents() -> None:
    assert [*batches_of(2, 5)] == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert [*batches_of(2, 0)] == []


def test_each_batch_is_told_after_its_work() -> None:
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    assert [len(told) for _ in batches_of(2, 3, tell)] == [0, 1]
    assert [len(told) for _ in batches(["ab", "cd"], tell, n_characters=2)] == [2, 3]
    assert told == [(2, 3), (3, 3), (1, 2), (2, 2)]
