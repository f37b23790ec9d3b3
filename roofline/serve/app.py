"""The HTTP side of the service: routes, their schema, and how every mistake becomes one line of JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from roofline.errors import RooflineError
from roofline.serve import schemas
from roofline.serve.limits import BUSY, TOO_LARGE, UNPROCESSABLE, UNREADABLE, BodyLimit, Limits
from roofline.serve.service import Service
from roofline.version import __version__

T = TypeVar("T")
#: what any route may answer beside its result
MISTAKES: dict[int | str, dict[str, Any]] = {
    TOO_LARGE: {"model": schemas.Mistake, "description": "The body is larger than the limit."},
    UNPROCESSABLE: {"model": schemas.Mistake, "description": "The request cannot be answered; one line says why."},
    BUSY: {"model": schemas.Mistake, "description": "It took longer than the limit."},
}
BINARY = "application/octet-stream"
DESCRIPTION = "How long neural networks take on accelerators, for searches that run elsewhere. No request reads a file."


class Json(JSONResponse):
    """JSON in ASCII: a name of lone surrogates that came in goes out again, escaped."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def mistake(status: int, message: str) -> Json:
    """Return the answer to a request that cannot be served."""
    return Json({"error": " ".join(message.split())}, status_code=status)


def create_app(limits: Limits | None = None) -> FastAPI:
    """Return the service as an ASGI application.

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
    _refuse_clearly(app)
    _add_routes(app, service)
    app.add_middleware(
        BodyLimit,
        limit_bytes=service.limits.body_bytes,
        refusal=lambda message: mistake(TOO_LARGE, message),
    )
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    limits = service.limits
    pool = ThreadPoolExecutor(max_workers=limits.threads, thread_name_prefix="roofline")

    async def timed(work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.run_in_executor(pool, work), limits.time_s)

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
    async def simulate(wanted: schemas.Simulation) -> Json:
        """Simulate one network on one device; the answer is the report that the command line prints as JSON."""
        return Json((await timed(lambda: service.simulate([wanted])))[0])

    @app.post("/simulate/batch", responses=MISTAKES)
    async def simulate_batch(wanted: schemas.Simulations) -> Json:
        """Simulate several networks together; the answer is the list of their reports."""
        return Json(await timed(lambda: service.simulate(wanted.simulations)))

    @app.post("/latency", response_model=schemas.Latencies, responses=MISTAKES)
    async def latency(wanted: schemas.Candidates) -> Json:
        """Return the latency of candidates of a search space on each device."""

        def work() -> dict[str, Any]:
            devices, latency_s = service.latency_s(wanted, service.listed(wanted, wanted.genomes))
            return {"devices": devices, "latency_s": latency_s.tolist()}

        return Json(await timed(work))

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
        body = await request.body()

        def work() -> bytes:
            _, latency_s = service.latency_s(options, service.packed(options, body))
            return np.ascontiguousarray(latency_s, dtype="<f8").tobytes()

        return Response(await timed(work), media_type=BINARY)


def _refuse_clearly(app: FastAPI) -> None:
    """Answer every mistake with one line of JSON."""

    @app.exception_handler(RooflineError)
    async def refused(_: Request, error: RooflineError) -> Json:
        return mistake(UNPROCESSABLE, "; ".join([str(error), *getattr(error, "__notes__", [])]))

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
        answer = mistake(UNPROCESSABLE if bad else error.status_code, str(error.detail).lower())
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(TimeoutError)
    async def late(_: Request, error: TimeoutError) -> Json:
        return mistake(BUSY, "it took longer than one request may")

    @app.exception_handler(RecursionError)
    async def deep(_: Request, error: RecursionError) -> Json:
        return mistake(UNPROCESSABLE, "nested too deeply")
