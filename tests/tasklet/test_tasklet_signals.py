"""Signals of objects and of blinker."""

import asyncio
import signal
import subprocess
import sys
import textwrap
import weakref

import pytest

from cooperative_aio import tasklet
from cooperative_aio.tasklet import WaitForCall, WaitForSignal


class GObject:
    """What PyGObject's objects do, as far as anybody can tell from outside."""

    __gsignals__ = {"changed": (), "destroy": ()}  # noqa: RUF012 - as written for GObject
    hooks: dict = {}  # noqa: RUF012 - of the class

    def __init__(self):
        self.handlers = {}

    def connect(self, name, callback):
        if name not in self.__gsignals__:
            raise TypeError(f"{self!r}: unknown signal name: {name}")
        handle = max(self.handlers, default=0) + 1
        self.handlers[handle] = (name, callback)
        return handle

    def disconnect(self, handle):
        del self.handlers[handle]

    def emit(self, name, *args):
        results = []
        for connected, callback in tuple(self.handlers.values()):
            if connected == name:
                results.append(callback(self, *args))
        for hook in tuple(self.hooks):
            if hook[0] == name and not hook[1](self, *args):
                self.hooks.pop(hook, None)
        return results

    @classmethod
    def add_emission_hook(cls, name, callback):
        hook = (name, callback)
        cls.hooks[hook] = None
        return hook

    @classmethod
    def remove_emission_hook(cls, hook):
        cls.hooks.pop(hook, None)


class Registry:
    """A class that is heard by methods of its own."""

    handlers: dict = {}  # noqa: RUF012 - of the class

    @classmethod
    def connect(cls, name, callback):
        if name != "changed":
            raise KeyError(name)
        cls.handlers[id(callback)] = callback
        return id(callback)

    @classmethod
    def disconnect(cls, handle):
        del cls.handlers[handle]


def waiting(*conditions):
    event = yield conditions
    return event.object, event.signal_args, event.signal_kwargs


async def test_an_emission_ends_the_wait_before_emit_returns():
    obj = GObject()
    condition = WaitForSignal(obj, "changed")
    done = tasklet.run(waiting(condition))
    assert condition.object is obj
    assert condition.signal == "changed"
    assert obj.emit("changed", 1, 2) == [False]
    assert done.state == tasklet.STATE_ZOMBIE
    assert done.return_value == (obj, (1, 2), {})
    assert obj.handlers == {}


async def test_two_emissions_in_a_row_are_two_events():
    got = []

    def body(condition):
        for _ in range(2):
            event = yield condition
            got.append(event.signal_args)

    obj = GObject()
    tasklet.run(body(WaitForSignal(obj, "changed")))
    assert obj.emit("changed", 1) == [True]
    assert obj.emit("changed", 2) == [False]
    assert got == [(1,), (2,)]


async def test_emissions_of_other_signals_are_not_heard():
    obj = GObject()
    done = tasklet.run(waiting(WaitForSignal(obj, "changed")))
    obj.emit("destroy")
    assert not done.done()


async def test_an_object_that_is_destroyed_is_let_go():
    obj = GObject()
    condition = WaitForSignal(obj, "changed")
    done = tasklet.run(waiting(condition))
    obj.emit("destroy")
    obj.handlers.clear()  # what destruction does
    done.cancel()
    await asyncio.wait([done])
    assert done.cancelled()


async def test_destruction_can_be_waited_for():
    obj = GObject()
    done = tasklet.run(waiting(WaitForSignal(obj, "destroy")))
    obj.emit("destroy")
    assert done.return_value[0] is obj
    assert obj.handlers == {}


@pytest.mark.parametrize(
    ("class_", "emit"),
    [
        (GObject, lambda: GObject().emit("changed", 3)),
        (Registry, lambda: [h("registry", 3) for h in tuple(Registry.handlers.values())]),
    ],
)
async def test_a_signal_of_any_instance_of_a_class_is_heard(class_, emit):
    condition = WaitForSignal(class_, "changed")
    done = tasklet.run(waiting(condition))
    assert condition.class_ is class_
    emit()
    emitter, args, _ = done.return_value
    assert args == (3,)
    assert isinstance(emitter, (GObject, str))
    assert condition.object is emitter
    assert (GObject.hooks, Registry.handlers) == ({}, {})


@pytest.mark.parametrize("obj", ["", 1.5, None, object(), True])
def test_what_emits_no_signals_is_refused(obj):
    with pytest.raises(TypeError, match="obj must be a system signal, a blinker signal, or an"):
        WaitForSignal(obj, "")


def test_a_class_whose_instances_cannot_be_heard_is_refused():
    class Plain:
        def connect(self, name, callback):
            """Connect."""

        def disconnect(self, handle):
            """Disconnect."""

    with pytest.raises(TypeError, match="obj must be a class whose instances can be heard"):
        WaitForSignal(Plain, "changed")


@pytest.mark.parametrize("obj", [GObject(), GObject])
def test_an_unknown_signal_is_refused(obj):
    with pytest.raises(ValueError, match=r"signal must be one that .*GObject.* has, got 'foo'"):
        WaitForSignal(obj, "foo")


async def test_an_unknown_signal_that_only_connecting_tells_is_raised_at_the_yield():
    condition = WaitForSignal(Registry, "foo")
    with pytest.raises(
        ValueError, match=r"signal must be one that .*Registry.* has, got 'foo'"
    ):
        await tasklet.run(waiting(condition))


@pytest.mark.parametrize("name", [None, 3])
def test_a_signal_of_an_object_has_a_name(name):
    with pytest.raises(TypeError, match="signal must be the name of a signal, got"):
        WaitForSignal(GObject(), name)


def test_a_sender_is_for_blinker_only():
    with pytest.raises(TypeError, match="sender must be left out except for blinker, got 3"):
        WaitForSignal(GObject(), "changed", sender=3)
    with pytest.raises(TypeError, match="signal must be left out for a system signal, got 'x'"):
        WaitForSignal(signal.SIGUSR1, "x")


def test_a_signal_with_a_detail_is_known_by_its_name():
    assert WaitForSignal(GObject(), "changed::detail").signal == "changed::detail"


class Sender:
    """Something that can be referred to weakly."""


async def test_blinker_signals_are_heard_from_any_sender():
    blinker = pytest.importorskip("blinker")
    ready = blinker.Signal("ready")
    done = tasklet.run(waiting(WaitForSignal(ready)))
    sender = Sender()
    ready.send(sender, value=1)
    assert done.return_value == (sender, (sender,), {"value": 1})
    assert not ready.receivers


@pytest.mark.parametrize("by_name", [False, True])
async def test_blinker_signals_are_heard_from_one_sender(by_name):
    blinker = pytest.importorskip("blinker")
    ready, ours, theirs = blinker.Signal(), Sender(), Sender()
    condition = WaitForSignal(ready, sender=ours) if by_name else WaitForSignal(ready, ours)
    done = tasklet.run(waiting(condition))
    ready.send(theirs)
    assert not done.done()
    ready.send(ours)
    assert done.return_value == (ours, (ours,), {})
    assert not ready.receivers


async def test_two_sends_in_a_row_are_two_events_of_blinker():
    blinker = pytest.importorskip("blinker")
    ready, got = blinker.Signal(), []

    def body():
        condition = WaitForSignal(ready)
        for _ in range(2):
            event = yield condition
            got.append(event.signal_kwargs["n"])

    tasklet.run(body())
    ready.send(n=1)
    ready.send(n=2)
    assert got == [1, 2]


async def test_a_blinker_sender_is_not_kept_alive():
    blinker = pytest.importorskip("blinker")
    ready, sender, call = blinker.Signal(), Sender(), WaitForCall()
    done = tasklet.run(waiting(WaitForSignal(ready), call))
    gone = weakref.ref(sender)
    done.cancel()
    await asyncio.wait([done])
    del sender
    assert gone() is None
    assert not ready.receivers


PYGOBJECT = """
    import asyncio, sys
    if __debug__:
        sys.path += sys.argv[1:]
    try:
        from gi.repository import GObject
    except ImportError:
        sys.exit(77)
    from cooperative_aio import tasklet

    class C(GObject.GObject):
        __gsignals__ = {"my-signal": (GObject.SignalFlags.RUN_FIRST, None, (int,))}

    def waiting(condition):
        event = yield condition
        return event.object, event.signal_args

    async def main():
        obj = C()
        for emitter in (obj, C):
            task = tasklet.run(waiting(tasklet.WaitForSignal(emitter, "my-signal")))
            obj.emit("my-signal", 1)
            assert task.state == tasklet.STATE_ZOMBIE
            assert task.return_value == (obj, (1,))
            obj.emit("my-signal", 2)
        tasklet.WaitForSignal(GObject.GObject(), "notify")
        tasklet.WaitForSignal(GObject.GObject(), "notify::name")
        for bad, error in (("", TypeError), (obj, ValueError), (C, ValueError)):
            try:
                tasklet.WaitForSignal(bad, "foo")
            except error:
                pass
            else:
                raise AssertionError(bad)

    asyncio.run(main())
    print("heard")
"""


def test_pygobject_itself_is_heard():
    # Where the interpreter has none of its own, the system's may fit.
    program = textwrap.dedent(PYGOBJECT)
    done = subprocess.run(
        [sys.executable, "-c", program, "/usr/lib/python3/dist-packages"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("there is no PyGObject for this interpreter")
    assert (done.stdout, done.stderr) == ("heard\n", "")


@pytest.fixture
def gobject_module(monkeypatch):
    """Stand in for PyGObject's module, which a program has imported."""

    class Module:
        hooked: dict = {}  # noqa: RUF012 - of one test

        class GObject:
            def connect(self, name, callback):
                """Connect."""

            def disconnect(self, handle):
                """Disconnect."""

        def signal_lookup(self, name, _obj):
            return 7 if name == "changed" else 0

        def add_emission_hook(self, class_, name, hook):
            self.hooked[5] = (class_, name, hook)
            return 5

        def remove_emission_hook(self, class_, name, handle):
            assert self.hooked.pop(handle)[:2] == (class_, name)

    module = Module()
    monkeypatch.setitem(sys.modules, "gi.repository.GObject", module)
    return module


async def test_classes_of_gobject_are_heard_by_emission_hooks(gobject_module):
    class_ = gobject_module.GObject
    done = tasklet.run(waiting(WaitForSignal(class_, "changed")))
    emitter = class_()
    assert gobject_module.hooked[5][2](emitter, 1) is False
    assert done.return_value == (emitter, (1,), {})
    assert gobject_module.hooked == {}
    with pytest.raises(ValueError, match=r"signal must be one that .* has, got 'foo'"):
        WaitForSignal(class_, "foo")
