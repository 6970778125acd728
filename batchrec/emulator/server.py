"""The emulator on a socket: routes, the faults of the fault plan, and control paths for tests.

Beside the service's paths there are `GET /_emulator/counters`, `/_emulator/datasets` and `POST /_emulator/revoke`,
`/_emulator/settings` and `/_emulator/faults` (JSON bodies), so that tests in other processes can look and
act. `access` decides which requests are answered.
"""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress

import orjson
from aiohttp import web

from . import access, bodies, data_sets, services
from .answers import Answers
from .answers.stand_in import StandIn
from .changes import SettingsError, shown
from .counters import Counters
from .desk import Answer, Call, Desk
from .downloads import download
from .faults import Fault, FaultPlan
from .services import Service
from .settings import MIB, Settings
from .signatures import Received

TOKEN_PATH = "/oauth/2.0/token"
MAX_BODY = 16 * MIB
"""Bytes of a request body beyond which the answer is HTTP 413; the live gateway's bound is unknown."""

HTML_502 = b"""<html>\r
<head><title>502 Bad Gateway</title></head>\r
<body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></body>\r
</html>\r
"""
HEADERS = {"Server": "batchrec-emulator", "Cache-Control": "no-cache"}


class Emulator:
    """A running emulator: where it is, what it saw, and what can be changed while it runs."""

    def __init__(self, settings: Settings, answers: Answers, plan: FaultPlan, now: Callable[[], float]) -> None:
        self.url = ""
        """Address by which this machine reaches it, without a trailing slash; to be used in place of `https://aip.baidubce.com`."""
        self.plan = plan
        """The fault plan; another one may be put here at any time."""
        self.hosts = access.Hosts()
        """The hosts that requests may be for."""
        self.exposed = False
        """Whether it listens beyond loopback, so that other machines may reach it."""
        self._desk = Desk(settings, answers, now, download)
        self._closing = asyncio.Event()

    @property
    def counters(self) -> Counters:
        """One received call and its outcome."""
        return self._desk.counters

    @property
    def data_sets(self) -> data_sets.DataSets:
        """The account's data sets."""
        return self._desk.data_sets

    @property
    def settings(self) -> Settings:
        """The settings as they are now."""
        return self._desk.settings

    def configure(self, **changes: object) -> None:
        """Change settings from the next call on; SettingsError names what is wrong, and then nothing changes."""
        self._desk.configure(changes)

    def revoke_tokens(self) -> None:
        """Every token issued so far answers 110 from now on."""
        self._desk.tokens.revoke()

    def close(self) -> None:
        """Let go of the calls that hang by plan, so that nothing holds up the end."""
        self._closing.set()

    def application(self, *, control: bool) -> web.Application:
        """The aiohttp application. Without `control` its control paths answer 404."""
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._admit])
        app.on_response_prepare.append(_forbid_sniffing)
        if control:
            app.router.add_get(f"{access.CONTROL}/counters", self._show_counters)
            app.router.add_get(f"{access.CONTROL}/datasets", self._show_data_sets)
            app.router.add_post(f"{access.CONTROL}/revoke", self._revoke)
            app.router.add_post(f"{access.CONTROL}/settings", self._change_settings)
            app.router.add_post(f"{access.CONTROL}/faults", self._change_faults)
        app.router.add_route("*", f"{access.CONTROL}{{rest:.*}}", _no_such_path)
        app.router.add_route("*", TOKEN_PATH, self._token)
        app.router.add_route("*", "/{path:.*}", self._recognize)
        return app

    @web.middleware
    async def _admit(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if refusal := access.refusal(_deciding(request), self.hosts):
            self.counters.refused += 1
            return _json({"error": refusal.reason}, status=refusal.status)
        return await handler(request)

    async def _token(self, request: web.Request) -> web.StreamResponse:
        number = self.counters.arrived("token")
        if request.method not in ("GET", "POST"):
            return self._sent("token", self._desk.error(3))
        raw = await request.read()
        parameters = bodies.form(raw).options | dict(request.query)
        fault = self.plan.pick("token", number)
        return await self._with_fault(request, "token", fault, lambda: self._desk.token(parameters))

    async def _recognize(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST" and (name := data_sets.CALLS.get(request.path)):
            return await self._data_set(request, name)
        found = services.find(request.path) if request.method == "POST" else None
        raw = await request.read()
        if found is None:
            self.counters.arrived("unknown")
            return self._sent("unknown", self._desk.error(3))
        self.counters.entered()
        try:
            return await self._answer(request, *found, raw)
        finally:
            self.counters.left()

    async def _data_set(self, request: web.Request, name: str) -> web.StreamResponse:
        raw, received = await request.read(), _received(request)
        fault = self.plan.pick(name, self.counters.arrived(name))
        return await self._with_fault(request, name, fault, lambda: self._desk.data_set(name, received, raw))

    async def _answer(
        self, request: web.Request, service: Service, model: str | None, raw: bytes
    ) -> web.StreamResponse:
        call = Call(service, model, _received(request), raw)
        fault = self.plan.pick(service.name, self.counters.arrived(service.name))
        return await self._with_fault(request, service.name, fault, lambda: self._desk.recognize(call))

    async def _with_fault(
        self, request: web.Request, service: str, fault: Fault | None, work: Callable[[], Awaitable[Answer]]
    ) -> web.StreamResponse:
        """The work's answer, or what the fault makes of it; an early fault that answers spares the work."""
        if fault is None:
            return self._sent(service, await work())
        self.counters.met(service, fault.kind)
        if not fault.early:
            return await self._apply_fault(request, service, fault, await work())
        await self._desk.pause()
        if fault.kind != "latency":
            return await self._apply_fault(request, service, fault, None)
        await asyncio.sleep(fault.seconds or 0)
        return self._sent(service, await work())

    async def _apply_fault(
        self, request: web.Request, service: str, fault: Fault, answer: Answer | None
    ) -> web.StreamResponse:
        """One accident. `answer` is what would have been sent, None if the work was not done."""
        match fault.kind:
            case "hang":
                self.counters.ended(service, "hang")
                await self._closing.wait()
                return self._reset(request)
            case "reset":
                self.counters.ended(service, "reset")
                return self._reset(request)
            case "torn" if answer is not None:
                self.counters.ended(service, "torn")
                return await self._torn(request, answer)
            case "latency" if answer is not None:
                await asyncio.sleep(fault.seconds or 0)
                return self._sent(service, answer)
            case _:
                return self._sent(service, self._replacement(fault))

    def _replacement(self, fault: Fault) -> Answer:
        """The answer that a fault puts in place of the right one."""
        match fault.kind:
            case "code":
                return self._desk.error(fault.code or 0, fault.message)
            case "html_502":
                return Answer("html_502", HTML_502, 502, "text/html")
            case "http":
                body = {"code": "Unavailable", "message": "planned fault", "requestId": "emulator"}
                return Answer(f"http {fault.status}", orjson.dumps(body), fault.status or 500)
            case "invalid_client":
                body = {"error": "invalid_client", "error_description": "unknown client id"}
                return Answer("invalid_client", orjson.dumps(body), 401, "application/json")
            case "no_result":
                return self._desk.bare()
            case _:
                text = "upstream connect error" if fault.body is None else fault.body
                return Answer("not_json", text.encode())

    def _sent(self, service: str, answer: Answer) -> web.Response:
        self.counters.ended(service, answer.outcome)
        return _response(answer)

    def _reset(self, request: web.Request) -> web.StreamResponse:
        """End the connection with RST: without lingering, closing discards what was not sent yet."""
        if request.transport is not None:
            sock = request.transport.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.abort()
        return web.Response()

    async def _torn(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        """Promise the whole body, send half of it, and hang up."""
        whole = _response(answer)
        torn = web.StreamResponse(status=whole.status, headers=whole.headers)
        torn.content_length = len(answer.body)
        torn.force_close()
        await torn.prepare(request)
        await torn.write(answer.body[: len(answer.body) // 2])
        if request.transport is not None:
            request.transport.close()
        return torn

    async def _show_counters(self, request: web.Request) -> web.Response:
        return _json(self.counters.snapshot())

    async def _show_data_sets(self, request: web.Request) -> web.Response:
        return _json(self.data_sets.snapshot())

    async def _revoke(self, request: web.Request) -> web.Response:
        self.revoke_tokens()
        return _json({})

    async def _change_settings(self, request: web.Request) -> web.Response:
        try:
            changes = orjson.loads(await request.read())
        except orjson.JSONDecodeError as exc:
            return _json({"error": f"settings: not JSON: {exc}"}, status=400)
        if not isinstance(changes, dict):
            return _json({"error": "settings: right would be a JSON object"}, status=400)
        try:
            self._desk.configure(changes)
        except SettingsError as exc:
            return _json({"error": str(exc)}, status=400)
        return _json(shown(self.settings))

    async def _change_faults(self, request: web.Request) -> web.Response:
        try:
            self.plan = FaultPlan.parse(await request.read(), origin="request")
        except ValueError as exc:
            return _json({"error": str(exc)}, status=400)
        return _json({})


@asynccontextmanager
async def serve(
    settings: Settings | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    answers: Answers | None = None,
    plan: FaultPlan | None = None,
    now: Callable[[], float] = time.time,
    allowed: Collection[str] = (),
    control: bool = True,
) -> AsyncIterator[Emulator]:
    """An emulator in this event loop, for as long as the block lasts.

    Port 0 takes a free one. `now` gives Unix seconds and decides over limits and tokens; delays are the
    event loop's. Requests may be for loopback, for `host` (all addresses of this machine where it is a wildcard)
    and for the hosts `allowed`; without `control` there are no control paths. OSError if the address cannot
    be had, HostError for an entry of `allowed` that is no host.
    """
    emulator = Emulator(settings or Settings(), answers or StandIn(), plan or FaultPlan(), now)
    emulator.hosts = access.Hosts.listening(host, (), allowed)
    runner = web.AppRunner(
        emulator.application(control=control),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.5,
        keepalive_timeout=75.0,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        bound = [address[0] for address in runner.addresses]
        bound_host, bound_port = runner.addresses[0][:2]
        emulator.hosts = access.Hosts.listening(host, bound, allowed)
        emulator.exposed = access.exposed(bound)
        emulator.url = f"http://{access.reachable(bound_host)}:{bound_port}"
        yield emulator
    finally:
        emulator.close()
        await runner.cleanup()


async def serve_forever(
    settings: Settings,
    host: str,
    port: int,
    plan: FaultPlan | None,
    announce: Callable[[Emulator], None],
    answers: Answers | None = None,
    allowed: Collection[str] = (),
) -> None:
    """Serve until cancelled; `announce` gets the emulator once the socket listens."""
    async with serve(settings, host=host, port=port, answers=answers, plan=plan, allowed=allowed) as emulator:
        announce(emulator)
        await asyncio.Event().wait()


def _received(request: web.Request) -> Received:
    """The parts of a request that its authorization is judged by."""
    url, headers = request.rel_url, {name.lower(): value for name, value in request.headers.items()}
    return Received(url.raw_path, url.raw_query_string, headers, request.method)


def _deciding(request: web.Request) -> access.Request:
    """The parts of a request that decide whether it is answered."""
    headers, resource = request.headers, request.match_info.route.resource
    return access.Request(
        method=request.method,
        control=resource is not None and resource.canonical.startswith(access.CONTROL),
        target=request.raw_path,
        host=tuple(headers.getall("Host", ())),
        origin=tuple(headers.getall("Origin", ())),
        site=tuple(headers.getall("Sec-Fetch-Site", ())),
        content_type=tuple(headers.getall("Content-Type", ())),
    )


async def _forbid_sniffing(request: web.Request, response: web.StreamResponse) -> None:
    """A browser must not take a reply for another type than its own, for a script in the first place."""
    response.headers["X-Content-Type-Options"] = "nosniff"


async def _no_such_path(request: web.Request) -> web.Response:
    return _json({"error": "no such path or method"}, status=404)


def _response(answer: Answer) -> web.Response:
    headers = HEADERS | {"Content-Type": answer.content_type}
    return web.Response(body=answer.body, status=answer.status, headers=headers)


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, headers={"Content-Type": "application/json"})
