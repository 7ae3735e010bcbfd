import pytest

from pipeline.text.tokens import name_words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("read_csv", "read csv"),
        ("LinearSVC", "Linear SVC"),
        ("HTTPServer2", "HTTP Server 2"),
        ("from_dict_of_lists", "from dict of lists"),
        ("svd", "svd"),
        ("\u6807\u9898_x", "\u6807\u9898 x"),
        ("_", ""),
    ],
)
def test_a_name_is_split_into_its_words(name: str, words: str) -> None:
    assert name_words(name) == words
