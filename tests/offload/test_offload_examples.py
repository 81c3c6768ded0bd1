"""The examples, run as their users run them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from core_support import errors_in

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*arguments):
    done = subprocess.run(
        [sys.executable, "-P", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (errors_in(done.stderr), done.returncode) == ("", 0), done.stdout
    return done.stdout.splitlines()


def test_the_example_of_processes_estimates_pi():
    lines = run(str(EXAMPLES / "offload_processes.py"), "150000")
    estimates = [float(found[1]) for line in lines if (found := re.search(r"about (.*)", line))]
    assert len(estimates) == 3 + 6
    assert all(abs(estimate - 3.14159) < 0.05 for estimate in estimates)
    assert lines[-6].endswith(lines[3].partition("darts: ")[2])  # the same seed


@pytest.mark.dask
@pytest.mark.parametrize("own", [True, False])
def test_the_example_of_a_cluster_counts_primes(own, request):
    pytest.importorskip("distributed")
    arguments = [] if own else [request.getfixturevalue("cluster").scheduler_address]
    lines = run(str(EXAMPLES / "dask_cluster.py"), *arguments)
    assert lines[0] == "2 workers"
    assert lines[-1] == "9,592 primes below 100,000"
