"""Print what a page and Node see beside jobs: `python tests/everywhere/web_numbers.py`."""

import asyncio
import tempfile
from pathlib import Path

from web_support import WEB, live, run_in_chromium, run_in_node

CALL = "main(3.0, 7)"


def show(title, found):
    print(f"\n{title}\n")
    print("| jobs | frames/s | timers late, ms (99th) | ten turns, ms (99th) | steps/s |")
    print("| --- | --- | --- | --- | --- |")
    for row in found["rows"]:
        late, hops = (f"{median} ({high})" for median, high in (row["late"], row["hops"]))
        print(f"| {row['way']} | {row['frames']} | {late} | {hops} | {row['steps']:,} |")
    best, median = found["work"]["blocking"]
    print()
    for name, (high, middle) in found["work"].items():
        shares = f"{high / best:.2f} of the best, {middle / median:.2f} of the median"
        print(f"{name}: {high:,} steps/s at best, {middle:,} in the median: {shares}")


async def main():
    with tempfile.TemporaryDirectory() as folder:
        furnished = Path(folder)
        live.furnish(furnished)
        for worker in (False, True):
            for scheduler in (True, False):
                found = await run_in_chromium(
                    furnished, "pacing.py", CALL, worker=worker, scheduler=scheduler
                )
                title = f"Chromium, {'worker' if worker else 'page'}, "
                show(title + ("postTask" if scheduler else "setTimeout"), found)
        program = WEB / "pacing.py"
        copy = furnished / "numbers.py"
        text = program.read_text("utf-8").replace("rounds=0", "rounds=7")
        copy.write_text(text, "utf-8")
        show("Node", run_in_node(furnished, copy))


if __name__ == "__main__":
    asyncio.run(main())
