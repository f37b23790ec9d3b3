"""The application that one process of the service runs: routes, their schema, mistakes as one line of JSON.

A process has one request at a time, so that nothing here waits for anything; `roofline.serve.gate` is what holds many.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from roofline.errors import RooflineError, line_of
from roofline.serve import schemas
from roofline.serve.answers import Json, mistake
from roofline.serve.limits import BUSY, SLOW, TOO_LARGE, UNPROCESSABLE, UNREADABLE, Limits
from roofline.serve.service import Service
from roofline.version import __version__

#: where a worker puts the body of a request: what tells its parts is `frames`, not HTTP
BODY = "roofline.body"
#: bytes of a number of an answer, as JSON at most and as float64
DIGITS_BYTES, FLOAT_BYTES = 26, 8
#: what any route may answer beside its result
MISTAKES: dict[int | str, dict[str, Any]] = {
    SLOW: {"model": schemas.Mistake, "description": "The body took longer than the limit."},
    TOO_LARGE: {"model": schemas.Mistake, "description": "The body is larger than the limit."},
    UNPROCESSABLE: {"model": schemas.Mistake, "description": "The request cannot be answered; one line says why."},
    BUSY: {"model": schemas.Mistake, "description": "It took longer than the limit."},
}
JSON, BINARY = "application/json", "application/octet-stream"
DESCRIPTION = "How long neural networks take on accelerators, for searches that run elsewhere. No request reads a file."


class Asked(Request):
    """A request whose JSON says everything once."""

    async def body(self) -> Any:
        """Return the body: bytes, or what holds them."""
        return self.scope[BODY] if BODY in self.scope else await super().body()

    async def json(self) -> Any:
        """Return the content of a body of JSON."""
        return json.loads(bytes(await self.body()), object_pairs_hook=_once, parse_constant=_no_constant)


class Route(APIRoute):
    """A route that reads its requests as `Asked` does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(Asked(request.scope, request.receive))

        return strict


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise HTTPException(UNPROCESSABLE, f"key {twice[:80]!r} is given twice")
    return found


def _no_constant(text: str) -> Any:
    raise HTTPException(UNPROCESSABLE, f"{text} is no number")


def create_app(limits: Limits | None = None) -> FastAPI:
    """Return what answers one request after another, as an ASGI application.

    Parameters
    ----------
    limits
        What one request may ask; see `Limits`.
    """
    service = Service(limits)
    app = FastAPI(
        title="roofline",
        version=__version__,
        description=DESCRIPTION,
        default_response_class=Json,
        docs_url=None,
        redoc_url=None,
    )
    app.router.route_class = Route
    app.state.service = service
    _refuse_clearly(app)
    _add_routes(app, service)
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    def rendered(answers: Iterable[dict[str, Any]]) -> list[bytes]:
        parts, size = [], 0
        for answer in answers:
            parts.append(json.dumps(answer, separators=(",", ":"), allow_nan=False).encode())
            size += len(parts[-1]) + 1
            service.check_answer(size)
        return parts

    @app.get("/health", response_model=schemas.Health)
    async def health() -> Json:
        """Say that the service is there."""
        return Json({"status": "ok", "roofline_version": __version__})

    @app.get("/names", response_model=schemas.Names)
    async def names() -> Json:
        """List the networks, devices, runtimes and search spaces that requests may name."""
        return Json(service.names())

    @app.get("/spaces/{name}", response_model=schemas.SpaceAnswer, responses=MISTAKES)
    async def space(name: str) -> Json:
        """Return the genes of a search space: what the numbers of a genome mean."""
        return Json(service.space(name))

    @app.post("/simulate", responses=MISTAKES)
    async def simulate(wanted: schemas.Simulation) -> Response:
        """Simulate one network on one device; the answer is the report that the command line prints as JSON."""
        return Response(rendered([service.simulate(wanted)])[0], media_type=JSON)

    @app.post("/simulate/batch", responses=MISTAKES)
    async def simulate_batch(wanted: schemas.Simulations) -> Response:
        """Simulate several networks together; the answer is the list of their reports, `error` in the place of one."""
        return Response(b"[" + b",".join(rendered(service.simulate_each(wanted.simulations))) + b"]", media_type=JSON)

    @app.post("/latency", response_model=schemas.Latencies, responses=MISTAKES)
    async def latency(wanted: schemas.Candidates) -> Json:
        """Return the latency of candidates of a search space on each device."""
        genomes = service.listed(wanted, wanted.genomes)
        devices, latency_s = service.latency_s(wanted, genomes, number_bytes=DIGITS_BYTES)
        return Json({"devices": devices, "latency_s": latency_s.tolist()})

    @app.post(
        "/latency/binary",
        response_class=Response,
        responses={200: {"content": {BINARY: {"schema": {"type": "string", "format": "binary"}}}}, **MISTAKES},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def latency_binary(request: Request, options: Annotated[schemas.OracleQuery, Query()]) -> Response:
        """Return the latency of many candidates, without the cost of JSON.

        The body holds a byte per gene, genome after genome; the answer a little-endian float64 of seconds per device,
        candidate after candidate.
        """
        genomes = service.packed(options, await request.body())
        _, latency_s = service.latency_s(options, genomes, number_bytes=FLOAT_BYTES)
        return Response(np.ascontiguousarray(latency_s, dtype="<f8").tobytes(), media_type=BINARY)


def _refuse_clearly(app: FastAPI) -> None:
    """Answer every mistake with one line of JSON."""

    @app.exception_handler(RooflineError)
    async def refused(_: Request, error: RooflineError) -> Json:
        return mistake(UNPROCESSABLE, line_of(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Json:
        first = error.errors()[0]
        if first["type"] == "model_attributes_type" and first["loc"] == ("body",):
            return mistake(UNPROCESSABLE, "the body must be a JSON object, sent with content-type: application/json")
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        return mistake(UNPROCESSABLE, f"{place}: {first['msg']}" if place else str(first["msg"]))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Json:
        bad = error.status_code == UNREADABLE  # a body that is no JSON: as any other request that says nothing
        own = error.status_code == UNPROCESSABLE  # words of this module; others are titles
        answer = mistake(UNPROCESSABLE if bad else error.status_code, error.detail if own else error.detail.lower())
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(MemoryError)
    async def huge(_: Request, error: MemoryError) -> Json:
        return mistake(UNPROCESSABLE, "it needs more memory than one request may")

    @app.exception_handler(RecursionError)
    async def deep(_: Request, error: RecursionError) -> Json:
        return mistake(UNPROCESSABLE, "nested too deeply")
