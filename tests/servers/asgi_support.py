"""Call ASGI applications without a server, on virtual time."""

import asyncio
import functools

from cooperative_aio.testing import VirtualLoop


def on_virtual_time(test):
    """Run a coroutine test on a loop whose time jumps, in debug mode; 1 hour is for ever."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        reports = []

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: reports.append(context))
            async with asyncio.timeout(3600):
                await test(*args, **kwargs)

        with asyncio.Runner(debug=True, loop_factory=VirtualLoop) as runner:
            runner.run(main())
        assert reports == []

    return run


class Server:
    """What a server does for an application: its life, and the calls of clients."""

    def __init__(self, app, *, has_state=True):
        self.app = app
        self.sent = []
        self.to_app = asyncio.Queue()
        self.scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        if has_state:
            self.scope["state"] = {}
        self.living = None

    async def start(self):
        self.living = asyncio.create_task(self.app(self.scope, self.to_app.get, self.send))
        await self.tell("lifespan.startup")

    async def tell(self, kind):
        """Say what happens; return when the application has taken note, or is gone."""
        count = len(self.sent)
        self.to_app.put_nowait({"type": kind})
        while len(self.sent) == count and not self.living.done():
            await asyncio.sleep(0.001)

    async def send(self, message):
        self.sent.append(message["type"])

    async def stop(self):
        await self.tell("lifespan.shutdown")
        await self.living

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.stop()

    def call(self, path="/", **options):
        return Call(self.app, path, state=dict(self.scope.get("state", {})), **options)


class Call:
    """One call of an application by a client, which sends `messages` and then waits."""

    def __init__(self, app, path="/", *messages, state=None, kind="http", send=None, **scope):
        self.app = app
        self.scope = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "subprotocols": [],
            **({} if state is None else {"state": state}),
            **scope,
        }
        self.to_app = asyncio.Queue()
        for message in messages or (self.body(),) * (kind == "http"):
            self.to_app.put_nowait(message)
        if kind == "websocket":
            self.to_app.put_nowait({"type": "websocket.connect"})
        self.sent = []
        self._send = send
        self.running = asyncio.create_task(self.run())

    @staticmethod
    def body(data=b"", *, more=False):
        return {"type": "http.request", "body": data, "more_body": more}

    async def run(self):
        await self.app(self.scope, self.to_app.get, self.send)

    async def send(self, message):
        self.sent.append(message)
        if self._send is not None:
            await self._send(message)
        await asyncio.sleep(0)

    def leave(self):
        kind = "http.disconnect" if self.scope["type"] == "http" else "websocket.disconnect"
        self.to_app.put_nowait({"type": kind})

    async def until(self, condition):
        while not condition():
            await asyncio.sleep(0.01)

    @property
    def status(self):
        starts = [each for each in self.sent if each["type"] == "http.response.start"]
        return starts[0]["status"] if starts else None

    @property
    def headers(self):
        [start] = [each for each in self.sent if each["type"] == "http.response.start"]
        return {name.decode(): value.decode() for name, value in start["headers"]}

    @property
    def body_sent(self):
        return b"".join(
            each.get("body", b"") for each in self.sent if each["type"] == "http.response.body"
        )

    @property
    def is_complete(self):
        return bool(self.sent) and not self.sent[-1].get("more_body", False)
