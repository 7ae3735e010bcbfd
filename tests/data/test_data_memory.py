"""What preparing many texts takes, measured in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

GIB = 2**30

MEASURE = '''
import json, sys
from pathlib import Path

from tests.memory import peak_bytes
from pipeline.data.prepare import prepare_data
from pipeline.study.loading import parse_study

STUDY = """
name: qa
sources: {qa: {path: qa.jsonl.gz, text: answer}}
tasks:
  qtype: {kind: multiclass, target: qtype}
  question: {kind: abstractive, target: question, text: answer}
split: {train: 0.7, valid: 0.1, test: 0.2, group: focus, ungrouped: own}
model: {encoder: {kind: tfidf, width: 512}}
"""
data, cache = Path(sys.argv[1]), Path(sys.argv[2])
spec = parse_study(STUDY).spec
imported = peak_bytes()
prepared = prepare_data(spec, data, cache)
print(json.dumps({
    "imported": imported, "peak": peak_bytes(), "rows": sum(prepared.report.n_rows.values())
}))
'''


@pytest.mark.slow
@pytest.mark.shared_data
def test_preparing_all_answers_takes_less_than_two_gibibytes(
    shared_data: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", MEASURE, str(shared_data), str(tmp_path / "cache")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"imports {found['imported'] / GIB:.2f} GiB, at most {found['peak'] / GIB:.2f} GiB")
    assert found["rows"] == 16_407
    assert found["peak"] < 2 * GIB
