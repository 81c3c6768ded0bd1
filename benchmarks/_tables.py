"""The tables of the pages: a head, and rows in which `[FILE: NAME; FORM]` stands for a figure.

See pages.py for what these mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from _jobs import CHECKPOINT, DEFAULT, FUNCTIONS, NONE, POOL, RHYTHM, THREADS

Table = Sequence[str]

LOOPS = ("asyncio", "uvloop")
WAYS = {
    "no job": NONE,
    "default `TimeSlice()`, generators": DEFAULT,
    "`to_slices()`, functions": FUNCTIONS,
    "`await checkpoint()`": CHECKPOINT,
    "`TimeSlice(0.01, max_wait=0)`, Twisted's rhythm": RHYTHM,
    "`asyncio.to_thread`": THREADS,
    "a pool of two processes": POOL,
}
FRONT = {  # on the front page
    "nothing: an idle server": NONE,
    "**cooperative_aio**, four generators": DEFAULT,
    "**cooperative_aio**, four functions": FUNCTIONS,
    "10 ms of computing on every turn of the loop": RHYTHM,
    "`asyncio.to_thread`": THREADS,
    "a process pool, on the other core": POOL,
}
PYTHONS = ("", "-3.13")  # the results of another Python have its version in their name


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def both(file: str, figure: str) -> tuple[str, ...]:
    """Return cells for a figure on each loop, and what was wanted."""
    cells = [f"[{file}: {loop}, {figure}]" for loop in LOOPS]
    return (*cells, f"[{file}: asyncio, {figure}; wanted]")


def latency(loop: str) -> Iterator[str]:
    yield row("computing by", "median, ms", "99th percentile, ms", "work, units/s")
    for name, mode in WAYS.items():
        case = f"latency: {loop}, {mode}"
        work = "" if mode == NONE else f"[{case}, work]"
        yield row(name, f"[{case}, p50]", f"[{case}, p99]", work)


def latency_in_short() -> Iterator[str]:
    yield row("computing by", "median", "99th percentile", "work done")
    for name, mode in FRONT.items():
        case = f"latency: asyncio, {mode}"
        work = "" if mode == NONE else f"[{case}, work; about]/s"
        yield row(name, f"[{case}, p50; about] ms", f"[{case}, p99; about] ms", work)


def latency_ratios() -> Iterator[str]:
    yield row("ratio", "asyncio", "uvloop", "wanted")
    for name, mode in (("slice on every turn", RHYTHM), ("`to_thread`", THREADS)):
        for shown, part in (("median", "p50"), ("99th", "p99")):
            yield row(
                f"{shown}: {name} / default", *both("latency", f"{part}: {mode} / default")
            )
    for name, mode in (("`to_slices()`", FUNCTIONS), ("`checkpoint()`", CHECKPOINT)):
        yield row(f"99th: {name} / default", *both("latency", f"p99: {mode} / default"))
    for name, mode in (("slice on every turn", RHYTHM), ("`to_thread`", THREADS)):
        yield row(f"work: default / {name}", *both("latency", f"work: default / {mode}"))


def saturation(loop: str) -> Iterator[str]:
    case = f"saturation: {loop}, "
    yield row("computing by", "requests/s", "work, units/s")
    yield row("no job", f"[{case}{NONE}, requests]", "")
    for name, mode in (
        ("default `TimeSlice()`", DEFAULT),
        ("`TimeSlice(0.01, max_wait=0)`, Twisted's rhythm", RHYTHM),
        ("`asyncio.to_thread`", THREADS),
    ):
        yield row(name, f"[{case}{mode}, requests]", f"[{case}{mode}, work]")
    yield row("the same job without clients", "", f"[{case}default job alone, work]")


def saturation_ratios() -> Iterator[str]:
    yield row("ratio", "asyncio", "uvloop", "wanted")
    names = {NONE: "no job", RHYTHM: "slice on every turn", THREADS: "`to_thread`"}
    for mode, name in names.items():
        figure = f"requests: default / {mode}"
        yield row(f"requests: default / {name}", *both("saturation", figure))
    for mode, name in {DEFAULT: "default", **names}.items():
        if mode != NONE:
            yield row(f"work: {name} / alone", *both("saturation", f"work: {mode} / alone"))


def one(file: str, head: Table, names: Mapping[str, str]) -> Iterator[str]:
    """Give a row with one figure for each name."""
    yield row(*head)
    for name, case in names.items():
        yield row(name, f"[{file}: {case}]")


def judged(file: str, head: Table, names: Mapping[str, str]) -> Iterator[str]:
    """Give a row with one figure for each name, and what was wanted."""
    yield row(*head)
    for name, figure in names.items():
        yield row(name, f"[{file}: {figure}]", f"[{file}: {figure}; wanted]")


STEPS = {
    "`deque(generator)`": "deque(gen)",
    "`batch_accumulate(1000, …)`": "batch_accumulate, 1 task",
    "`accumulate`": "accumulate, 1 task",
    "`coiterate`": "coiterate",
    "`batch_accumulate`, four at a time": "batch_accumulate, 4 task",
    "`accumulate`, four at a time": "accumulate, 4 task",
    "Twisted, `coiterate`": "Twisted coiterate",
    "Twisted, accumulating": "Twisted accumulate, 1 task",
    "Twisted, accumulating in batches": "Twisted batches, 1 task",
    "Twisted, accumulating, four at a time": "Twisted accumulate, 4 task",
    "Twisted, accumulating in batches, four at a time": "Twisted batches, 4 task",
    "`deque(generator)`, 1 µs of work": "deque(gen), 1 us of work",
    "`batch_accumulate(1000, …)`, 1 µs of work": "batch_accumulate, 1 us of work",
    "`accumulate`, 1 µs of work": "accumulate, 1 us of work",
}
STEP_RATIOS = {
    "`accumulate` / `deque`": "accumulate, 1 task / deque(gen)",
    "`batch_accumulate` / `deque`": "batch_accumulate, 1 task / deque(gen)",
    "`batch_accumulate` / `deque`, 1 µs of work": (
        "batch_accumulate, 1 us of work / deque(gen), 1 us of work"
    ),
    "`accumulate` / `deque`, 1 µs of work": (
        "accumulate, 1 us of work / deque(gen), 1 us of work"
    ),
    "Twisted / `accumulate`": "Twisted accumulate, 1 task / accumulate, 1 task",
    "Twisted / `accumulate`, four at a time": (
        "Twisted accumulate, 4 task / accumulate, 4 task"
    ),
    "Twisted in batches / `batch_accumulate`": (
        "Twisted batches, 1 task / batch_accumulate, 1 task"
    ),
    "the same, four at a time": "Twisted batches, 4 task / batch_accumulate, 4 task",
    "Twisted's `coiterate` / `coiterate`": "Twisted coiterate / coiterate",
}
CHECKPOINTS = {
    "`checkpoint()` while the slice lasts": "checkpoint() while the slice lasts, us",
    "`checkpoint()`, standing back included": "checkpoint(), standing back included",
    "`asyncio.sleep(0)`": "sleep(0)",
    "a coroutine that does nothing": "a coroutine that does nothing",
}
SHARES = {
    "0.1 ms and 2 ms steps: off by this part": "0.1 ms and 2 ms steps: off by",
    "weights 1 and 3: off by this part": "weights 1:3: off by",
    "Jain's index of 50 tasks with random steps": "Jain's index",
    "what 2 ms steps get for 1 of 0.1 ms steps, Twisted": (
        "2 ms steps : 0.1 ms steps, Twisted"
    ),
}


def scale() -> Iterator[str]:
    yield row("", "among few", "among many", "many / few", "wanted")
    for name, few, many, ratio, unit in (
        ("made, stepped twice, finished", *("run, few", "run, many", "run: many / few"), "µs"),
        (
            "the same as an `asyncio.Task`",
            *("asyncio.Task, run, few", "asyncio.Task, run, many"),
            *("asyncio.Task, run: many / few", "µs"),
        ),
        (
            "made, paused, resumed, stopped",
            *("pause, resume, stop beside few", "pause, resume, stop beside many"),
            *("pause, resume, stop: many / few", "µs"),
        ),
        (
            "a step of the only ready task",
            *("one ready task alone", "one ready task beside many parked"),
            *("one ready task: beside many parked / alone", "ns"),
        ),
    ):
        cells = [f"[scale: {case}; median] {unit}" for case in (few, many)]
        yield row(name, *cells, f"[scale: {ratio}]", f"[scale: {ratio}; wanted]")
    memory = "[scale: bytes of a parked task]", "", "[scale: bytes of a parked task; wanted]"
    yield row("bytes of a parked task", "", *memory)
    yield row("bytes of an `asyncio.Task`", "", "[scale: memory of an asyncio.Task]", "", "")


def servers() -> Iterator[str]:
    kinds = [(name, state) for name in ("aiohttp", "FastAPI") for state in ("idle", "busy")]
    yield row("", *(f"{name}, {state}" for name, state in kinds))
    for shown, part in (
        ("median, ms", "p50"),
        ("99th percentile, ms", "p99"),
        ("longest, ms", "longest"),
    ):
        yield row(shown, *(f"[servers: {name}, {state}, {part}]" for name, state in kinds))
    judgement = "99th: busy / idle; [servers: aiohttp, p99: busy / idle; wanted] was wanted"
    ratios = (f"[servers: {name}, p99: busy / idle]" for name in ("aiohttp", "FastAPI"))
    yield row(judgement, *(cell for ratio in ratios for cell in ("", ratio)))
    amounts = (f"[servers: {name}, streamed to the jobs' clients] MB" for name in SERVERS)
    yield row("streamed meanwhile", *(cell for amount in amounts for cell in ("", amount)))
    for fault in (
        *("requests without an answer", "errors", "answers with wrong rows"),
        *("rows lost or doubled", "jobs that failed"),
    ):
        cells = (f"[servers: {name}, {fault}]" for name in SERVERS)
        yield row(fault, *(cell for each in cells for cell in ("", each)))


SERVERS = ("aiohttp", "FastAPI")
JOBS = (
    *("markdown", "recursion", "recursion, 900 deep", "nested loops"),
    *("json, pure Python", "jinja2", "pygments"),
)


def functions(file: str) -> Iterator[str]:
    yield row("job", "CPU time in slices / plain", "beyond standing back", "wanted")
    back = "generator / plain loop (standing back)"
    yield row("a generator (nested loops)", f"[{file}: {back}]", "", "")
    for job in JOBS:
        ratio = f"{job}: in slices / plain"
        beyond = f"{ratio}, beyond standing back"
        yield row(
            job, f"[{file}: {ratio}]", f"[{file}: {beyond}]", f"[{file}: {beyond}; wanted]"
        )


def answers(file: str) -> Iterator[str]:
    yield row("beside", "an answer takes, ms: median", "99th percentile")
    for jobs in ("4 functions", "4 generators", "4 threads"):
        case = f"{file}: answer beside {jobs}"
        yield row(jobs, f"[{case}, median]", f"[{case}, p99]")


MONITORING = (
    "`sys.monitoring`, events always on",
    "the same, events on when a watcher thread says so",
)


def mechanisms(file: str, loop: str) -> Iterator[str]:
    late = "beats late beside one, ms, median / 99th"
    yield row("mechanism", "CPU time / plain call", late, "beside four", "steps of the four")
    for name in (
        *("a repeating timer, its handler leaves", "cooperative_aio.functions"),
        *(MONITORING if file != "mechanisms" else ()),  # from 3.12 on
        *("`sys.settrace`", "`asyncio.to_thread`"),
    ):
        case = f"{file}: {loop}, {name}"
        late_beside = (
            f"[{case}, {count}, p50 late; median] / [{case}, {count}, p99 late; median]"
            for count in (1, 4)
        )
        yield row(name, f"[{case}, 1, CPU time]", *late_beside, f"[{case}, 4, steps; each]")


def databases() -> Iterator[str]:
    beside = ("nothing", "Cooperator", "5 ms, then sleep(0)", "to_thread")
    yield row("median, ms", *("no job" if way == "nothing" else way for way in beside))
    for name, shown in DATABASES.items():
        yield row(shown, *(f"[databases: {name} beside {way}, median]" for way in beside))
    for name, shown in DATABASES.items():
        cells = (f"[databases: {name} beside {way}, p99]" for way in beside)
        yield row(f"{shown}, 99th", *cells)
    for name, shown in DATABASES.items():
        cells = (f"[databases: {name}: work done by {way}]" for way in beside[1:])
        yield row(f"{shown}: work, units/s", "", *cells)


def database_ratios() -> Iterator[str]:
    yield row("", "median: Cooperator / no job", "wanted", "transactions without a slice, %")
    for name, shown in DATABASES.items():
        ratio = f"databases: {name}, median: Cooperator / idle"
        without = f"[databases: {name}: transactions without a slice]"
        yield row(shown, f"[{ratio}]", f"[{ratio}; wanted]", without)


DATABASES = {"asyncpg": "PostgreSQL", "redis": "Redis", "aiosqlite": "SQLite"}


def json_array() -> Iterator[str]:
    yield row("the handler", "takes, s", "others wait at most, ms")
    for way in (
        *("return rows", "return rows, of a type", "JSONResponse(rows)"),
        *("to_thread(json.dumps)", "JSONArrayResponse(rows)"),
        "JSONArrayResponse(rows, streamed=True)",
    ):
        yield row(
            f"`{way}`",
            f"[json_array: {way}: takes]",
            f"[json_array: {way}: others are late by]",
        )


def collector(file: str) -> Iterator[str]:
    yield row(
        *("", "longest collection, rows", "longest, trees"),
        *("all collections, trees", "memory, trees"),
    )
    for shown, case in (
        ("as it is", "as it is"),
        ("`gc.freeze()`", "gc.freeze()"),
        ("`gc.freeze()` and thresholds 50,000, 20, 100", "freeze and thresholds"),
        *((f"`quiet_collector({size})`", size or "quiet_collector()") for size in SIZES),
    ):
        yield row(
            shown,
            f"[{file}: 500,000 rows: longest collection: {case}; about] ms",
            f"[{file}: four jobs: longest collection: {case}; about] ms",
            f"[{file}: four jobs: all collections: {case}; about] ms",
            f"[{file}: four jobs: peak memory: {case}; about] MB",
        )


SIZES = ("", "max_growth=1_000_000", "max_growth=4_000_000")


def offload() -> Iterator[str]:
    yield row("", "threads", "processes", "Dask, local")
    starts = [f"[offload: {place}: first value; about] ms" for place in PLACES[:2]]
    yield row("first value from a new place", *starts, "seconds, with the cluster")
    for shown, case, unit in (
        ("open, one value, close", "{}: a source", "ms"),
        ("a batch of one value", "{}: a batch of one", "µs"),
        ("a value (the generator alone: [offload: alone; about] µs)", "{}", "µs"),
    ):
        cells = (f"[offload: {case.format(place)}; about] {unit}" for place in PLACES)
        yield row(shown, *cells)
    memory = "[offload: a worker process; about] MB, and your imports"
    yield row("memory of a worker", "none", memory, "not measured")


PLACES = ("threads", "processes", "Dask")
LATE = {
    "nothing": "idle",
    "one stream": "beside one job",
    "two streams": "beside two jobs",
    "`run_in_executor`": "beside run_in_executor",
    "two busy processes that send nothing": "beside two, no values",
}
SPEEDS = {
    "a stream from a process, of the generator's own speed": "speed: processes",
    "`run_in_executor`, all at the end": "speed: run_in_executor",
    "two jobs on two processes, of one": "two jobs over one",
    "the same without sending anything": "the same, no values",
}


def calls() -> Iterator[str]:
    yield row("", "a small call, ms", "CPU", "300,000 values in batches of 1,000, ms", "CPU")
    for way in ("next_batch", "accumulate", "run_in_executor", "anyio.to_process"):
        kinds = ("a small call",) if way == "anyio.to_process" else ("a small call", "a job")
        cells = [f"[offload: {what}: {way}{cpu}]" for what in kinds for cpu in ("", ", CPU")]
        yield row(f"`{way}`", *cells, *[""] * (4 - len(cells)))


CALLS = {
    f"{what}: `{way}`": f"{what}: {way} over run_in_executor"
    for what in ("a small call", "a job")
    for way in ("next_batch", "accumulate")
}


def tutorial() -> Iterator[str]:
    blocked, sliced = "examples: tutorial_blocked", "examples: tutorial_to_slices"
    yield row("", "blocked", "in slices")
    for shown, figure, unit in (
        ("pings answered while the report was made", "pings", ""),
        ("longest wait for a ping", "longest", " ms"),
        ("time for the report", "last byte", " s"),
    ):
        yield row(shown, *(f"[{each}, {figure}]{unit}" for each in (blocked, sliced)))


TABLES: dict[str, list[str]] = {
    name: list(lines)
    for name, lines in (
        *((f"latency {loop}", latency(loop)) for loop in LOOPS),
        ("latency ratios", latency_ratios()),
        ("latency in short", latency_in_short()),
        *((f"saturation {loop}", saturation(loop)) for loop in LOOPS),
        ("saturation ratios", saturation_ratios()),
        ("steps", one("steps", ("case", "ns for each value"), STEPS)),
        ("steps ratios", judged("steps", ("ratio", "", "wanted"), STEP_RATIOS)),
        (
            "checkpoint",
            judged("checkpoint", ("case", "µs for each `await`", "wanted"), CHECKPOINTS),
        ),
        ("fairness", judged("fairness", ("", "", "wanted"), SHARES)),
        ("scale", scale()),
        ("servers", servers()),
        ("databases", databases()),
        ("databases ratios", database_ratios()),
        ("json_array", json_array()),
        ("offload", offload()),
        (
            "offload late",
            one(
                "offload",
                ("beside", "ms"),
                {name: f"p99 {case}" for name, case in LATE.items()},
            ),
        ),
        ("offload speed", judged("offload", ("", "", "wanted"), SPEEDS)),
        ("offload calls", calls()),
        ("offload calls ratios", judged("offload", ("", "", "wanted"), CALLS)),
        ("tutorial", tutorial()),
        *((f"functions{python}", functions(f"functions{python}")) for python in PYTHONS),
        *((f"functions{python} late", answers(f"functions{python}")) for python in PYTHONS),
        *((f"collector{python}", collector(f"collector{python}")) for python in PYTHONS),
        *(
            (f"mechanisms{python} {loop}", mechanisms(f"mechanisms{python}", loop))
            for python in PYTHONS
            for loop in LOOPS
        ),
    )
}
