"""Jobs in the background of a Jupyter kernel: a real one, which speaks over sockets."""

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ipykernel")
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
kernelspec = pytest.importorskip("jupyter_client.kernelspec")
manager = pytest.importorskip("jupyter_client.manager")

NOTEBOOK = Path(__file__).parents[2] / "examples" / "background_job.ipynb"
PATIENCE = 120  # seconds

# Of Jupyter itself, which is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

JOB = """
import asyncio
from cooperative_aio import cooperate
steps = 0

def endless():
    global steps
    while True:
        for _ in range(300):
            pass
        steps += 1
        yield

job = cooperate(endless(), name="endless")
"""


@pytest.fixture
def own_kernel(tmp_path, monkeypatch):
    """Have Jupyter start the Python that runs the tests, and keep its files apart."""
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    argv = [sys.executable, "-P", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = kernelspec.KernelSpec(argv=argv, display_name="tests", language="python")
    monkeypatch.setattr(
        kernelspec.KernelSpecManager, "get_kernel_spec", lambda self, name: spec
    )


class Kernel:
    """A kernel and a front end."""

    def __init__(self, running, client):
        self.manager = running
        self._client = client

    async def run(self, code, *, subshell=None):
        """Run a cell; return the text of its value, or the name of its exception."""
        message = self._client.session.msg(
            "execute_request",
            {"code": code, "silent": False, "allow_stdin": False, "stop_on_error": False},
        )
        message["header"]["subshell_id"] = subshell
        self._client.shell_channel.send(message)
        return await self._result_of(message["header"]["msg_id"])

    async def _result_of(self, number):
        text = None
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self._client.get_iopub_msg()
                if message["parent_header"].get("msg_id") != number:
                    continue
                content = message["content"]
                if message["msg_type"] == "execute_result":
                    text = content["data"]["text/plain"]
                elif message["msg_type"] == "error":
                    text = f"{content['ename']}: {content['evalue']}"
                elif content.get("execution_state") == "idle":
                    return text

    async def click(self, comm):
        """Click on a button of ipywidgets, as its front end would."""
        data = {"method": "custom", "content": {"event": "click"}}
        message = self._client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        self._client.shell_channel.send(message)
        await self._result_of(message["header"]["msg_id"])

    async def open_subshell(self):
        message = self._client.session.msg("create_subshell_request")
        self._client.control_channel.send(message)
        async with asyncio.timeout(PATIENCE):
            reply = await self._client.get_control_msg()
        return reply["content"]["subshell_id"]


@contextlib.asynccontextmanager
async def running():
    started = manager.AsyncKernelManager(kernel_name="python3")
    await started.start_kernel()
    client = started.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=PATIENCE)
        yield Kernel(started, client)
    finally:
        client.stop_channels()
        await started.shutdown_kernel(now=True)


async def test_the_notebook_runs_from_its_first_cell_to_its_last(own_kernel):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3")
    await client.async_execute()
    shown = {
        cell["id"]: cell["outputs"][-1]["data"]["text/plain"]
        for cell in notebook.cells
        if cell.cell_type == "code" and cell["outputs"]
    }
    assert shown["look"].startswith("<CooperativeTask ready name='primes' primes at ")
    assert shown["bar"].startswith("HBox(children=(IntProgress(value=")
    assert shown["result"] == "9592"
    assert shown["stopped"] == "<CooperativeTask stopped name='too many' primes>"
    assert shown["all"] == "<CooperativeTask stopped name='too many again' primes>"


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs, cell.execution_count) == (
            [],
            None,
        )


async def test_later_cells_run_while_a_job_computes(own_kernel):
    async with running() as kernel:
        await kernel.run(JOB)
        seen = [int(await kernel.run("steps")) for _ in range(3)]
        assert 0 < seen[0] < seen[1] < seen[2]
        assert (await kernel.run("job")).startswith("<CooperativeTask ready ")


async def test_an_interrupt_ends_the_job_that_a_cell_awaits_and_no_other(own_kernel):
    async with running() as kernel:
        await kernel.run(JOB)
        await kernel.run('other = cooperate(endless(), name="other")')
        await kernel.manager.interrupt_kernel()
        assert await kernel.run("job.done(), other.done()") == "(False, False)"
        waiting = asyncio.create_task(kernel.run("await job"))
        await asyncio.sleep(0.5)  # until the cell awaits, which nothing tells
        await kernel.manager.interrupt_kernel()
        assert (await waiting).startswith("CancelledError")
        assert await kernel.run("job.cancelled(), other.done()") == "(True, False)"


async def test_a_click_is_handled_while_a_job_computes(own_kernel):
    pytest.importorskip("ipywidgets")
    async with running() as kernel:
        await kernel.run(JOB)
        await kernel.run("import ipywidgets; button = ipywidgets.Button()")
        await kernel.run("button.on_click(lambda _: job.stop())")
        comm = (await kernel.run("button.comm.comm_id")).strip("'")
        await kernel.click(comm)
        assert (await kernel.run("job")).startswith("<CooperativeTask stopped ")


async def test_a_subshell_reaches_a_job_by_call_soon_threadsafe(own_kernel):
    async with running() as kernel:
        await kernel.run(JOB + "loop = asyncio.get_running_loop()")
        subshell = await kernel.open_subshell()
        refusal = await kernel.run("job.stop()", subshell=subshell)
        assert refusal.startswith("RuntimeError")
        assert "another event loop" in refusal
        await kernel.run("loop.call_soon_threadsafe(job.stop)", subshell=subshell)
        async with asyncio.timeout(PATIENCE):
            while not (await kernel.run("job")).startswith("<CooperativeTask stopped "):
                pass


TERMINAL = """
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shell.run_cell("import asyncio; from cooperative_aio import cooperate")
print(repr(shell.run_cell("cooperate(iter([1]))").error_in_exec).split(";")[0])
shell.run_cell("job = cooperate(x for x in range(10**9)); await asyncio.sleep(0.01)")
shell.run_cell("before = job.steps")
shell.run_cell("between = job.steps")
shell.run_cell("await asyncio.sleep(0.01)")
print(0 < shell.user_ns["before"] == shell.user_ns["between"] < shell.user_ns["job"].steps)
"""


def test_ipython_in_a_terminal_needs_an_await_in_the_cell(tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-c", TERMINAL],
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    refusal, went_on = done.stdout.splitlines()[-2:]
    assert "without a running event loop" in refusal
    assert went_on == "True"


async def latencies(how):
    """Return after how many ms a cell has its value beside a job, and a click its effect."""
    async with running() as kernel:
        await kernel.run(JOB + "job.stop()\nimport threading, time")
        await kernel.run(how)
        cells = []
        for _ in range(30):
            began = time.perf_counter()
            await kernel.run("1")
            cells.append(1000 * (time.perf_counter() - began))
        return statistics.median(cells)


NAIVE = """
async def naive():
    began = time.perf_counter()
    for _ in endless():
        if time.perf_counter() - began > 0.01:
            await asyncio.sleep(0)
            began = time.perf_counter()

task = asyncio.create_task(naive())
"""
THREAD = "threading.Thread(target=lambda: [None for _ in endless()], daemon=True).start()"


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        import tempfile

        own_kernel.__wrapped__(Path(tempfile.mkdtemp()), patch)
        for name, how in {
            "no job": "",
            "cooperate": "job = cooperate(endless())",
            "sleep(0) every 10 ms": NAIVE,
            "a thread": THREAD,
        }.items():
            print(f"{name}: a cell takes {asyncio.run(latencies(how)):.0f} ms")
