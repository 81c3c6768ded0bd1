# ruff: noqa: INP001 (Sphinx imports it for conf.py; it is of no package)
"""Puts next to the live demo what it runs: the package, what that needs, and Pyodide.

* `COOPERATIVE_AIO_WHEEL`: the wheel to run; without it, the package that is installed.
* `PYODIDE`: the folder of the npm package `pyodide`, which becomes part of the site; without
  it, `node_modules/pyodide` in the project, if that is there.
* `PYODIDE_URL`: where the site is to load Pyodide from instead.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NEEDED = ("anyio", "idna", "sniffio", "typing_extensions")  # newer ones need fewer
PARTS = (  # of the npm package, what a page loads
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "python_stdlib.zip",
    "pyodide-lock.json",
)


def find_pyodide() -> Path | None:
    """Return the folder with Pyodide's own files, if there is one."""
    folder = Path(os.environ.get("PYODIDE") or ROOT / "node_modules" / "pyodide")
    return folder if (folder / "pyodide.mjs").exists() else None


def pack(archive: Path, *modules: str) -> Path:
    """Write the Python modules and packages of these names, as installed, into an archive."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for spec in filter(None, map(find_spec, modules)):
            assert spec.origin is not None  # noqa: S101 (they are written in Python)
            origin = Path(spec.origin)
            package = spec.submodule_search_locations is not None
            folder = origin.parents[1] if package else origin.parent
            sources = sorted(origin.parent.rglob("*")) if package else [origin]
            for source in sources:
                if source.is_file() and "__pycache__" not in source.parts:
                    file.write(source, source.relative_to(folder))
    return archive


def furnish(live: Path) -> None:
    """Put into the folder of the demo what it loads, and say in config.json what that is."""
    pack(live / "needed.zip", *NEEDED)
    wheel = os.environ.get("COOPERATIVE_AIO_WHEEL")
    if wheel:
        package = Path(shutil.copy(wheel, live))
    else:
        package = pack(live / "cooperative_aio.zip", "cooperative_aio")
    base, folder = os.environ.get("PYODIDE_URL"), find_pyodide()
    if base is None and folder is not None:
        base = "pyodide/"
        (live / base).mkdir(exist_ok=True)
        for part in PARTS:
            shutil.copy(folder / part, live / base)
    config = {"pyodide": base, "archives": ["needed.zip", package.name]}
    (live / "config.json").write_text(json.dumps(config), "utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Have the finished site furnished."""

    def finished(app: Any, exception: Exception | None) -> None:
        if exception is None and app.builder.format == "html":
            furnish(Path(app.outdir, "_static", "live"))

    app.connect("build-finished", finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
