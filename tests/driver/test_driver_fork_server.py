"""The server of worker processes starts ahead, beside the imports of the driver."""

import multiprocessing
import subprocess
import sys

import pytest

from pipeline.driver import worker
from pipeline.driver.fork_server import METHOD, WORKER, worker_context

pytestmark = pytest.mark.skipif(
    METHOD not in multiprocessing.get_all_start_methods(), reason="no fork server here"
)

CHILDREN = """
import os, sys
from pathlib import Path
from pipeline.driver.fork_server import start_ahead
start_ahead({arguments})
found = Path(f"/proc/self/task/{{os.getpid()}}/children").read_text().split()
print(len(found), "torch" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("arguments", "n_processes"), [("", 2), ("2", 2), ("1", 0), ("None, 'cuda'", 0)]
)
def test_the_server_starts_where_workers_will_be_forked(arguments: str, n_processes: int) -> None:
    # Two: with the server comes Python's tracker of what processes share.
    command = [sys.executable, "-c", CHILDREN.format(arguments=arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(n_processes), "False"]


def test_it_imports_what_workers_do() -> None:
    assert worker.__name__ == WORKER
    assert worker_context().get_start_method() == METHOD
