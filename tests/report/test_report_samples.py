from pipeline.report.samples import samples_page


def test_samples_are_lines_that_a_person_reads() -> None:
    one = {"document": "A `long`\n\n text.", "reference": "What?", "summary": "",
           "first_words": "A"}  # fmt: skip
    page = samples_page("ask", "valid", [one, {**one, "summary": "Who?"}])
    assert page.splitlines()[0] == "# ask: 2 documents of valid, spread evenly, not chosen"
    assert "- **text begins**: `A 'long' text.`" in page
    assert "- **this model**: (nothing)" in page
    assert page.index("- **reference**: `What?`") < page.index("- **this model**: `Who?`")
