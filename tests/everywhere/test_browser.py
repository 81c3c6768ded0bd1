"""The package in Node and in a browser, with what Pyodide is there.

Numbers of one's own machine: `python tests/everywhere/web_numbers.py`.
"""

import pytest
from web_support import (
    browsing,
    live,
    needs_chromium,
    needs_node,
    needs_pyodide,
    run_in_chromium,
    run_in_node,
    serving,
)

pytestmark = needs_pyodide

WORKS = {
    "cooperate": "slept",
    "accumulate": [0, 1, 2, 3, 4],
    "batch_accumulate": 1000,
    "batches": [[0, 1], [2, 3], [4]],
    "checkpoint": None,
    "defer_later": "later",
    "LoopingCall": 3,
    "tasklet": "nothing",
    "by hand": 3,
}
SLICE_AND_FRAME = 5 + 1000 / 60  # milliseconds
ATTEMPTS = 3  # the machine may be busy with something else
NO_THREADS = "in WebAssembly, where there are no threads; cooperate() with"
CANNOT = {
    "react": "RuntimeError: cannot react in a running event loop; await main(loop) there",
    "threads": f"NotImplementedError: cannot run generators in threads {NO_THREADS} them",
    "processes": "NotImplementedError: cannot run generators in processes in WebAssembly, "
    "where there are no processes; cooperate() with them",
    "interpreters": "NotImplementedError: cannot run generators in interpreters "
    f"{NO_THREADS} them",
    "dask": f"NotImplementedError: cannot use Dask {NO_THREADS} the generators",
    "signal": "NotImplementedError: cannot wait for a signal in WebAssembly, where there are "
    "no signals; listen to the page's events",
    "process": "NotImplementedError: cannot wait for a process in WebAssembly, where there "
    "are no processes; wait for a tasklet",
}


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    """Make the folder that the demo is served from, as the site has it."""
    folder = tmp_path_factory.mktemp("live")
    live.furnish(folder)
    return folder


def check_abilities(found):
    assert found["works"] == WORKS
    cannot = found["cannot"]
    assert {name: cannot[name] for name in CANNOT} == CANNOT
    assert "not available in browser environments" in cannot["descriptor"]  # Pyodide says it


def complaints(rows, *, frames):
    """Return what is wrong, as compared with no jobs and with `sleep(0)` every 10 ms."""
    by_way = {row["way"]: row for row in rows}
    idle, naive = by_way["0 x tasks"], by_way["1 x sleep(0)"]
    for way in ("1 x tasks", "4 x tasks", "1 x checkpoint", "4 x checkpoint"):
        row = by_way[way]
        if row["steps"] < naive["steps"] / 4:
            yield f"{way}: little work"
        if row["hops"][0] > naive["hops"][0] / 3:
            yield f"{way}: requests wait"
        if frames and row["frames"] < 0.7 * idle["frames"]:
            yield f"{way}: few frames"
        if frames and row["late"][0] > idle["late"][0] + SLICE_AND_FRAME:
            yield f"{way}: late timers"


@needs_node
def test_node_runs_what_it_can_and_says_what_it_cannot(furnished):
    found = run_in_node(furnished, "abilities.py")
    check_abilities(found)
    assert found["cannot"]["asyncio.run"] in {
        "RuntimeError: WebAssembly stack switching not supported in this JavaScript runtime",
        "nothing",  # it can, from about version 25 on
    }


@needs_node
def test_node_serves_others_beside_jobs(furnished):
    for _ in range(ATTEMPTS):
        found = run_in_node(furnished, "pacing.py")
        if not (wrong := list(complaints(found["rows"], frames=False))):
            return
    assert wrong == [], found


@needs_chromium
async def test_a_page_runs_what_it_can_and_says_what_it_cannot(furnished):
    check_abilities(await run_in_chromium(furnished, "abilities.py"))


@needs_chromium
@pytest.mark.parametrize("worker", [False, True], ids=["page", "worker"])
@pytest.mark.parametrize("scheduler", [True, False], ids=["postTask", "setTimeout"])
async def test_a_page_keeps_painting_beside_jobs(furnished, worker, scheduler):
    for _ in range(ATTEMPTS):
        found = await run_in_chromium(
            furnished, "pacing.py", worker=worker, scheduler=scheduler
        )
        if not (wrong := list(complaints(found["rows"], frames=True))):
            return
    assert wrong == [], found


@needs_chromium
@pytest.mark.parametrize("worker", [False, True], ids=["page", "worker"])
async def test_on_a_page_that_is_never_idle_a_job_still_has_slices(furnished, worker):
    ticks = await run_in_chromium(furnished, "pacing.py", "saturated()", worker=worker)
    assert 5 < ticks < 120  # a slice of 5 ms every 30 or so, once max_wait has passed


@needs_chromium
async def test_the_demo_freezes_by_one_button_and_moves_by_the_other(furnished):
    async with serving(furnished) as address, browsing() as (page, errors):
        await page.goto(f"{address}/index.html")
        await page.wait_for_function(
            "document.getElementById('status').textContent === 'Ready.'"
        )
        seen = {}
        for how in ("blocking", "cooperative"):
            await page.click(f"#{how}")
            await page.wait_for_function(
                f"document.querySelectorAll('#row-{how} td')[2].textContent !== ''"
            )
            cells = await page.locator(f"#row-{how} td").all_text_contents()
            seen[how] = [float(cell) for cell in cells]
        assert errors == []
    seconds, _, freeze = seen["blocking"]
    assert freeze > 900 * seconds  # all the time
    assert seen["cooperative"][1] > 15  # frames a second: 60 on a machine that has the time
    assert seen["cooperative"][2] < freeze / 4


@needs_chromium
async def test_the_demo_hears_what_is_typed_while_it_computes(furnished):
    async with serving(furnished) as address, browsing() as (page, _):
        await page.goto(f"{address}/index.html")
        await page.wait_for_function(
            "document.getElementById('status').textContent === 'Ready.'"
        )
        await page.click("#cooperative")
        await page.type("#typed", "hello")
        assert await page.input_value("#typed") == "hello"
        assert await page.text_content("#status") == "cooperative: computing…"


@needs_chromium
async def test_the_demo_says_when_the_site_was_built_without_python(
    tmp_path, monkeypatch, furnished
):
    monkeypatch.setattr(live, "find_pyodide", lambda: None)
    live.furnish(tmp_path)
    async with serving(tmp_path) as address, browsing() as (page, _):
        await page.goto(f"{address}/index.html")
        await page.wait_for_function(
            "document.getElementById('status').textContent.includes('built without Pyodide')"
        )
        assert await page.is_disabled("#blocking")
