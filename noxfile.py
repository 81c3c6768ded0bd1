"""Check the project: `nox` does what has to pass, `nox --list` shows the rest."""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.error_on_missing_interpreters = False  # those that are there will do
nox.options.sessions = ["lint", "typing", "tests", "coverage", "docs"]

PROJECT = nox.project.load_toml("pyproject.toml")
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
# Real servers, browsers, worker processes, a cluster: on one Python, unless asked for. What
# pytest takes by itself leaves them out, and tests/everywhere (see `norecursedirs`).
WIDE = ["tests/monitor", "tests/servers", "tests/offload"]
NARROW = [
    *("-o", "norecursedirs=.* everywhere monitor servers"),
    "--ignore-glob=tests/offload/test_offload_[!s]*.py",
]
ALL = ["-o", "norecursedirs=.* everywhere"]
GREENLETS = "tests/functions"  # where coverage has to follow greenlets, at twice the cost
GREEN = "--concurrency=thread,greenlet"
# As many processes as there are cores; a test's traceback is not worth a crash of pytest's own.
PARALLEL = ["-n", "auto", "--dist", "worksteal", "--tb", "native"]
MORE = ["-n", str(min(2 * (os.cpu_count() or 1), 8))]  # where tests wait, as WIDE ones do
PYODIDE = "pyodide@314"  # Python 3.14
# Arguments, results and errors that a docstring and its function do not agree about
DOCSTRINGS = "DOC102,DOC202,DOC403,DOC501"
# Each public name, and the version, from an installed package and without any extra
SEES_ALL = (
    "import cooperative_aio as package, importlib.metadata as metadata, pathlib;"
    "from cooperative_aio import *; from cooperative_aio.tasklet import *;"
    "from cooperative_aio.testing import *; from cooperative_aio.offload import *;"
    "from cooperative_aio.monitor import watchdog;"
    "assert metadata.version('cooperative-aio') == package.__version__;"
    "assert 'site-packages' in package.__file__;"
    "assert pathlib.Path(package.__file__).with_name('py.typed').exists()"
)
PYTHONS = list(dict.fromkeys([*nox.project.python_versions(PROJECT), RUNNING]))
PATIENCE = 5.0  # seconds between two lines that say that something is still going on

# pip compiles all that it installs, most of which is never imported, for half of its time. What
# is imported is compiled once, and not in each of the many processes that tests start.
os.environ.setdefault("PIP_NO_COMPILE", "1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@contextlib.contextmanager
def progress(session: nox.Session, what: str) -> Iterator[None]:
    """Say every few seconds that something goes on which says nothing itself."""
    done = threading.Event()
    begin = time.monotonic()

    def tell() -> None:
        while not done.wait(PATIENCE):
            session.log(f"{what}: {time.monotonic() - begin:.0f} seconds so far")
            sys.stderr.flush()

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def install(session: nox.Session, *requirements: str) -> None:
    """Install, and say meanwhile that it goes on."""
    with progress(session, "installing"):
        session.install(*requirements)


def run(session: nox.Session, *arguments: str) -> None:
    """Run what is silent while it runs, and say that it does."""
    with progress(session, arguments[0]):
        session.run(*arguments)


def group(name: str) -> tuple[str, ...]:
    """Return what a dependency group asks for; the pip at hand may not know groups."""
    return nox.project.dependency_groups(PROJECT, name)


def wheel(session: nox.Session) -> str:
    """Return the path of the wheel that the session `build` has made."""
    return str(next(Path(session.cache_dir, "dist").glob("*.whl")))


def measured(session: nox.Session) -> Path:
    """Return the folder for what benchmarks measure."""
    results = Path(session.cache_dir, "bench").resolve()
    results.mkdir(parents=True, exist_ok=True)
    return results


def use_pyodide(session: nox.Session) -> None:
    """Say where the wheel is, and Pyodide, if it was fetched and nothing else is said."""
    session.env["COOPERATIVE_AIO_WHEEL"] = wheel(session)
    fetched = Path(session.cache_dir, "npm", "node_modules", "pyodide")
    if "PYODIDE" not in os.environ and fetched.exists():
        session.env["PYODIDE"] = str(fetched.resolve())


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    install(session, *group("lint"))
    run(session, "ruff", "check")
    run(session, "ruff", "check", "--preview", "--select", DOCSTRINGS, "cooperative_aio")
    run(session, "ruff", "format", "--check")


@nox.session(requires=["build"])
def typing(session: nox.Session) -> None:
    """Check the types, and that all that is public has one."""
    install(session, wheel(session), *group("typing"))
    run(session, "mypy")
    checks = sorted(map(str, Path("tests").rglob("test_*_types.py")))
    run(session, "mypy", "tests/typing", *checks)
    run(session, "pyright", "--verifytypes", "cooperative_aio", "--ignoreexternal")


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build the source distribution, and from that the wheel."""
    dist = Path(session.cache_dir, "dist")
    shutil.rmtree(dist, ignore_errors=True)
    install(session, "build")
    run(session, "python", "-m", "build", "--outdir", str(dist))


@nox.session(python=PYTHONS, requires=["build"])
def tests(session: nox.Session) -> None:
    """Test the wheel (`-P`: not the directory that lies here) on every Python there is.

    On that which runs nox all tests are run, and measured is what they cover; on the others a
    part. Of the largest products all Pythons take a part: see `thorough`.
    """
    install(session, wheel(session), *group("wide" if session.python == RUNNING else "test"))
    pytest = ("-m", "pytest", *PARALLEL)
    if session.python != RUNNING:
        session.run("python", "-P", *pytest, *(session.posargs or NARROW))
        return
    session.env["COOPERATIVE_AIO_ONCE"] = "1"
    data = Path(session.cache_dir, f".coverage.{session.name}")
    session.env["COVERAGE_FILE"] = str(data.resolve())
    session.run("coverage", "erase")
    measured = ("python", "-P", "-m", "coverage", "run")
    if session.posargs:
        session.run(*measured, GREEN, *pytest, *session.posargs)
    else:
        session.run(*measured, *pytest, *MORE, *ALL, f"--ignore={GREENLETS}")
        session.run(*measured, GREEN, *pytest, GREENLETS)


@nox.session(python=PYTHONS, requires=["build"], default=False)
def thorough(session: nox.Session) -> None:
    """Test all of the largest products, of which `tests` takes a part, in several minutes."""
    install(session, wheel(session), *group("test"))
    session.env["COOPERATIVE_AIO_THOROUGH"] = "1"
    session.run("python", "-P", "-m", "pytest", *PARALLEL, *(session.posargs or NARROW))


@nox.session(python=PYTHONS, requires=["build"], default=False)
def wide(session: nox.Session) -> None:
    """Test the monitor, the servers and the places to offload to."""
    install(session, wheel(session), *group("wide"))
    session.run("python", "-P", "-m", "pytest", *PARALLEL, *MORE, *(session.posargs or WIDE))


@nox.session(python=RUNNING, requires=["build"], default=False)
def servers(session: nox.Session) -> None:
    """Run every server there is, and show what a client that leaves and SIGTERM do to it."""
    install(session, wheel(session), *group("all-servers"))
    session.env["COOPERATIVE_AIO_SERVERS"] = "all"
    session.run("python", "-P", "-m", "pytest", *(session.posargs or ["tests/servers"]))
    session.run("python", "benchmarks/shutdown.py")


@nox.session(python=RUNNING, requires=["build"], default=False)
def everywhere(session: nox.Session) -> None:
    """Test in the places where asyncio lives, as far as they are installed."""
    install(session, wheel(session), *group("everywhere"))
    session.run("python", "-P", "-m", "pytest", *(session.posargs or ["tests/everywhere"]))


@nox.session(python=RUNNING, requires=["build"], default=False)
def browser(session: nox.Session) -> None:
    """Test in Node and Chromium, with Pyodide from npm or from the folder PYODIDE."""
    install(session, wheel(session), *group("browser"))
    if "PYODIDE" not in os.environ and shutil.which("npm"):
        folder = session.cache_dir / "npm"
        folder.mkdir(parents=True, exist_ok=True)
        npm = ("npm", "install", "--no-save", "--prefix", str(folder), PYODIDE)
        session.run(*npm, external=True)
    use_pyodide(session)
    session.run("python", "-P", "-m", "pytest", "tests/everywhere/test_browser.py")


@nox.session
def coverage(session: nox.Session) -> None:
    """Put together what the tests have covered; pyproject.toml says how much must be."""
    install(session, "coverage[toml]")
    session.env["COVERAGE_FILE"] = str(Path(session.cache_dir, ".coverage").resolve())
    run(session, "coverage", "combine")
    run(session, "coverage", "report")


@nox.session(python=PYTHONS[0], requires=["build"], default=False)
def lowest(session: nox.Session) -> None:
    """Test with the lowest versions that the package says it needs."""
    pinned = [need.replace(">=", "==") for need in PROJECT["project"]["dependencies"]]
    install(session, wheel(session), *pinned, *group("test"))
    session.run("python", "-P", "-m", "pytest", *PARALLEL, *(session.posargs or NARROW))


@nox.session(requires=["build"], default=False)
def million(session: nox.Session) -> None:
    """Take a million random actions, with faults, and compare 20,000 random programs."""
    install(session, wheel(session), *group("test"))
    session.env["COOPERATIVE_AIO_THOROUGH"] = "1"
    session.env["COOPERATIVE_AIO_ACTIONS"] = "1000000"
    session.env["COOPERATIVE_AIO_PROGRAMS"] = "20000"
    tests = ["tests/machine", "tests/test_machine.py", "tests/test_matrix_programs.py"]
    session.run("python", "-P", "-m", "pytest", *PARALLEL, *(session.posargs or tests))


@nox.session(python="3.13", requires=["build"], default=False)
def mutants(session: nox.Session) -> None:
    """Break the core in 400 places, one at a time, and count what the tests notice."""
    install(session, wheel(session), *group("test"))
    cache = Path(session.cache_dir, "mutants").resolve()
    cache.mkdir(parents=True, exist_ok=True)
    files = ("--record", str(cache / "tests.json"), "--json", str(cache / "results.json"))
    session.run("python", "-P", "tests/mutants.py", *files, *session.posargs)


@nox.session(python=PYTHONS, requires=["build"], default=False)
def soak(session: nox.Session) -> None:
    """Set functions aside for SOAK_SECONDS (ten minutes), on every Python there is."""
    install(session, wheel(session), *group("test"))
    session.run("python", "-P", "tests/functions/soak.py")


@nox.session(requires=["build"])
def docs(session: nox.Session) -> None:
    """Make a site of docs, in docs/_build/html; what Sphinx warns of is an error."""
    install(session, wheel(session), *group("docs"))
    use_pyodide(session)  # for the live demo: `nox -s browser` fetches it
    site = Path("docs", "_build", "html")
    shutil.rmtree(site, ignore_errors=True)
    run(session, "python", "-P", "-m", "sphinx", "-E", "-W", "docs", str(site))
    session.log(f"the site begins with {site / 'index.html'}")


@nox.session(python=PYTHONS, requires=["build"], default=False)
def release(session: nox.Session) -> None:
    """Check what would be uploaded, and install each of both where nothing else is."""
    distributions = sorted(Path(session.cache_dir, "dist").iterdir())
    if session.python == RUNNING:
        session.install(*group("release"))
        session.run("twine", "check", "--strict", *map(str, distributions))
        session.run("check-wheel-contents", wheel(session))
    for distribution in distributions:
        empty = Path(session.create_tmp(), f"empty{distribution.suffix}")
        session.run("python", "-m", "venv", "--clear", str(empty))
        python = str(empty / ("Scripts" if os.name == "nt" else "bin") / "python")
        pip = (python, "-P", "-m", "pip", "--disable-pip-version-check")
        session.run(*pip, "install", "--quiet", str(distribution), external=True)
        session.run(*pip, "check", external=True)
        session.run(python, "-P", "-c", SEES_ALL, external=True)
        session.run(python, "-P", "examples/getting_started.py", external=True)


@nox.session(requires=["build"], default=False)
def links(session: nox.Session) -> None:
    """Look whether what the pages link to elsewhere is there; needs the network."""
    session.install(wheel(session), *group("docs"))
    session.run("python", "-P", "-m", "sphinx", "-b", "linkcheck", "docs", "docs/_build/links")


@nox.session(requires=["build"], default=False)
def databases(session: nox.Session) -> None:
    """Measure round trips to real databases beside a job; `-- --install` fetches these."""
    install(session, wheel(session), *group("databases"))
    written = str(measured(session) / "databases.json")
    session.run("python", "benchmarks/databases.py", "--json", written, *session.posargs)


@nox.session(requires=["build"], default=False)
def bench(session: nox.Session) -> None:
    """Measure, one benchmark after the other, or those that are named; draw the charts."""
    install(session, wheel(session), *group("bench"))
    results = measured(session)
    for old in [] if session.posargs else results.iterdir():
        old.unlink()
    others = {  # which measure nothing, or need more than Python
        *("charts.py", "pages.py"),
        *("databases.py", "shutdown.py"),
    }
    scripts = {path for path in Path("benchmarks").glob("[!_]*.py") if path.name not in others}
    for script in session.posargs or sorted(map(str, scripts)):
        session.run("python", script, "--json", str(results / f"{Path(script).stem}.json"))
    session.run("python", "benchmarks/charts.py", str(results), str(results))
    session.log(f"the numbers and the charts are in {results}")
    session.log(f"to show them in the pages: python benchmarks/pages.py --keep {results}")
