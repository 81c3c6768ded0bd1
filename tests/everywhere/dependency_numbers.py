"""Print what a library pays that depends on this package: the time of imports, and sizes.

    python tests/everywhere/dependency_numbers.py

The times are of CPU, the least of fifteen new interpreters, beyond `import asyncio` alone.
"""

import asyncio
import importlib.metadata
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cooperative_aio
from cooperative_aio import checkpoint

CACHE = tempfile.TemporaryDirectory()

IMPORTS = {
    "import cooperative_aio": "import cooperative_aio",
    "checkpoint": "from cooperative_aio import checkpoint",
    "checkpoint, cooperate, accumulate, batches": (
        "from cooperative_aio import accumulate, batches, checkpoint, cooperate"
    ),
    "(for comparison) anyio": "import anyio",
}


def cpu_of(program):
    """Return the CPU time of a new interpreter, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Compiled modules are kept, as after any first run.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": CACHE.name}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def cost_of(function, times=200_000):
    """Return what one `await` of the function costs, in nanoseconds."""
    spans = []
    for _ in range(7):
        await asyncio.sleep(0)
        began = time.thread_time()
        for _ in range(times):
            await function()
        spans.append((time.thread_time() - began) / times)
    return 1e9 * statistics.median(spans)


async def nothing():
    pass


def main():
    asyncio_alone = min(cpu_of("import asyncio") for _ in range(15))
    print(f"import asyncio: {1000 * asyncio_alone:.1f} ms")
    for name, program in IMPORTS.items():
        spent = min(cpu_of(f"import asyncio; {program}") for _ in range(15))
        print(f"{name}: {1000 * (spent - asyncio_alone):.1f} ms more")
    package = Path(cooperative_aio.__file__).parent
    size = sum(path.stat().st_size for path in package.rglob("*.py"))
    core = sum(path.stat().st_size for path in package.glob("_*.py"))
    print(
        f"cooperative_aio: {size / 1000:.0f} kB of Python, of which the core {core / 1000:.0f}"
    )
    for name in ("anyio", "typing-extensions"):
        files = importlib.metadata.files(name) or []
        size = sum(file.size or 0 for file in files if file.suffix == ".py")
        print(f"{name}: {size / 1000:.0f} kB of Python")
    for function in (nothing, checkpoint):
        print(f"await {function.__name__}(): {asyncio.run(cost_of(function)):.0f} ns")


if __name__ == "__main__":
    main()
