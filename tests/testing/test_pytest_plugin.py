import ast
import importlib.metadata
import importlib.util
import json
from pathlib import Path

import pytest

pytest_plugins = "pytester"

PLUGIN = "cooperative_aio.testing.plugin"

TESTS = """
    import pytest


    def test_clock(coop_clock):
        log = []
        coop_clock.call_later(1, lambda: log.append(coop_clock.time()))
        coop_clock.advance(2)
        assert log == [1.0]


    def test_virtual_loop(coop_virtual_loop):
        import asyncio

        coop_virtual_loop.run_until_complete(asyncio.sleep(3600))
        assert coop_virtual_loop.time() == 3600.0


    {mark}
    async def test_manual_cooperator(coop_scheduler, coop_manual_cooperator):
        task = coop_manual_cooperator.cooperate(iter(range(3)))
        assert task.steps == 0
        coop_scheduler.pump()
        assert task.steps == 1
        coop_scheduler.run()
        await task
        assert coop_scheduler.pending == ()


    {mark}
    async def test_their_own_loop_is_not_virtual():
        import asyncio

        from cooperative_aio.testing import VirtualLoop

        assert not isinstance(asyncio.get_running_loop(), VirtualLoop)
"""

BESIDE = {
    "pytest-asyncio in auto mode": ("", ["-o", "asyncio_mode=auto", "-p", "no:anyio"]),
    "pytest-asyncio in strict mode": ("@pytest.mark.asyncio", ["-o", "asyncio_mode=strict"]),
    "anyio": ("@pytest.mark.anyio", ["-p", "no:asyncio"]),
    "anyio and pytest-asyncio": ("@pytest.mark.anyio", ["-o", "asyncio_mode=strict"]),
}


@pytest.fixture
def run(pytester):
    """Run pytest in a process of its own, the plugin coming by its entry point if it can."""
    names = {entry.value for entry in importlib.metadata.entry_points(group="pytest11")}
    load = [] if PLUGIN in names else ["-p", PLUGIN]

    def run(*args, how=pytester.runpytest_subprocess):
        scope = ["-o", "asyncio_default_fixture_loop_scope=function"]
        scope *= "no:asyncio" not in args
        return how("-p", "no:cacheprovider", *load, *scope, *args)

    return run


@pytest.mark.thinned(2)
@pytest.mark.parametrize("beside", BESIDE)
def test_the_fixtures_work_beside(pytester, run, beside):
    mark, options = BESIDE[beside]
    pytester.makepyfile(TESTS.format(mark=mark))
    pytester.makeconftest(
        """
        import pytest


        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        """
    )
    run("-W", "error", *options).assert_outcomes(passed=4)


def test_unused_the_plugin_imports_nothing_of_the_package(pytester, run):
    pytester.makepyfile(
        """
        import sys


        def test_imports():
            mine = {name for name in sys.modules if name.startswith("cooperative_aio")}
            assert mine <= {
                "cooperative_aio",
                "cooperative_aio._lazy",
                "cooperative_aio.testing",
                "cooperative_aio.testing.plugin",
            }
        """
    )
    run().assert_outcomes(passed=1)


@pytest.mark.once
def test_coverage_misses_no_module_that_a_fixture_imports(pytester, run, monkeypatch):
    pytest.importorskip("pytest_cov")
    # What it measures is its own, not part of what the whole suite is measured by.
    monkeypatch.setenv("COVERAGE_FILE", str(pytester.path / ".coverage"))
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile("def test_clock(coop_clock): pass")
    report = pytester.path / "report.json"
    result = run("--cov=cooperative_aio._clock", f"--cov-report=json:{report}")
    result.assert_outcomes(passed=1)
    [file] = json.loads(report.read_text())["files"].values()
    source = Path(importlib.util.find_spec("cooperative_aio._clock").origin).read_text("utf-8")
    definitions = {node.lineno for node in ast.parse(source).body}
    assert definitions & set(file["executed_lines"])
    assert not definitions & set(file["missing_lines"])


@pytest.mark.once
def test_an_async_test_is_told_what_to_use_instead_of_the_virtual_loop(pytester, run):
    pytester.makepyfile(
        """
        from cooperative_aio.testing import virtual_time


        async def test_async(coop_virtual_loop):
            pass


        @virtual_time
        async def test_decorated(coop_virtual_loop):
            pass
        """
    )
    run("-o", "asyncio_mode=auto").assert_outcomes(errors=2)
    result = run("-p", "no:asyncio", how=pytester.runpytest_inprocess)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        ["*coop_virtual_loop is for tests that are not async; decorate this one with *"]
    )


@pytest.mark.once
def test_virtual_time_works_beside_pytest_asyncio_with_fixtures_and_parameters(pytester, run):
    pytester.makepyfile(
        """
        import asyncio

        import pytest

        from cooperative_aio.testing import virtual_time


        @pytest.mark.parametrize("seconds", [60, 3600])
        @virtual_time
        async def test_sleep(seconds, coop_clock):
            await asyncio.sleep(seconds)
            assert asyncio.get_running_loop().time() == seconds


        class TestMethods:
            @virtual_time
            async def test_method(self):
                await asyncio.sleep(60)
        """
    )
    for mode in ("auto", "strict"):
        run("-W", "error", "-o", f"asyncio_mode={mode}").assert_outcomes(passed=3)


@pytest.mark.once
def test_a_deadlock_fails_the_test_with_its_text(pytester, run):
    pytester.makepyfile(
        """
        import asyncio

        from cooperative_aio.testing import virtual_time


        @virtual_time
        async def test_wait():
            await asyncio.Event().wait()
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Deadlock: nothing can happen any more at 0.0*"])


@pytest.mark.once
def test_all_async_tests_of_anyio_can_be_put_on_virtual_time(pytester, run):
    pytester.makepyfile(
        """
        import anyio
        import pytest

        from cooperative_aio.testing import VirtualLoop

        pytestmark = pytest.mark.anyio


        @pytest.fixture
        def anyio_backend():
            return "asyncio", {"loop_factory": VirtualLoop}


        async def test_sleep():
            await anyio.sleep(3600)
            assert anyio.current_time() == 3600.0
        """
    )
    run("-W", "error", "-p", "no:asyncio").assert_outcomes(passed=1)


@pytest.mark.once
def test_all_async_tests_of_pytest_asyncio_can_be_put_on_virtual_time(pytester, run):
    plugin = pytest.importorskip("pytest_asyncio.plugin")
    if not hasattr(
        getattr(plugin, "PytestAsyncioSpecs", None), "pytest_asyncio_loop_factories"
    ):
        pytest.skip("this pytest-asyncio has no hook for it")
    pytester.makeconftest(
        """
        from cooperative_aio.testing import VirtualLoop


        def pytest_asyncio_loop_factories(config, item):
            return {"virtual": VirtualLoop}
        """
    )
    pytester.makepyfile(
        """
        import asyncio


        async def test_sleep():
            await asyncio.sleep(3600)
            assert asyncio.get_running_loop().time() == 3600.0
        """
    )
    run("-W", "error", "-o", "asyncio_mode=auto").assert_outcomes(passed=1)


@pytest.mark.once
def test_the_fixtures_are_listed_with_what_they_give(pytester, run):
    result = run("--fixtures")
    for name in ("coop_clock", "coop_scheduler", "coop_manual_cooperator", "coop_virtual_loop"):
        result.stdout.fnmatch_lines([f"{name}*", "    Return *"])
