"""``roofline serve``: the latency oracle over HTTP."""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import Annotated

import typer

from roofline.cli import output
from roofline.errors import InputError

MIB = 2**20


def command(
    port: Annotated[int, typer.Option("--port", "-p", min=1, max=65535)] = 8265,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    max_body_mib: Annotated[int, typer.Option("--max-body-mib", min=1, help="Largest body of a request.")] = 128,
    max_candidates: Annotated[int, typer.Option("--max-candidates", min=1, help="Genomes in a request.")] = 4_000_000,
    max_simulations: Annotated[int, typer.Option("--max-simulations", min=1, help="Networks in a request.")] = 256,
    max_seconds: Annotated[float, typer.Option("--max-seconds", help="Until a request is given up.")] = 60.0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes of each of three kinds.")] = 1,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="A name that requests may call it by, beside its own.")
    ] = None,
) -> None:
    """Answer simulations and batches of candidates over HTTP; GET /openapi.json describes the requests.

    It reads no file for a request, and asks nobody who they are: keep it on this machine, or behind a proxy that does.
    """
    try:
        from roofline.serve.gate import LOOPBACK, Gate
        from roofline.serve.server import Server
    except ImportError as error:
        raise InputError(f"the service needs {error.name}: pip install 'roofline[serve]'") from None
    from roofline.serve.limits import Limits

    limits = Limits(
        body_bytes=max_body_mib * MIB,
        candidates=max_candidates,
        simulations=max_simulations,
        time_s=max_seconds,
        workers=workers,
    )
    if not _is_loopback(host):
        output.warn(f"anybody who reaches {host} can use the service")
    with _listening(host, port) as listener:
        gate = Gate(limits, {*LOOPBACK, host, *(allow_host or [])} | (set() if _is_loopback(host) else _own_names()))
        server = Server(gate)  # its logging replaces that of the process: not before there is an address
        output.show(f"serving on {_url(host, port)} until interrupted")
        sys.stdout.flush()
        server.run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that takes connections from now on.

    Raises
    ------
    InputError
        The port is taken, or the address is none of this machine's.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0].lower()  # the rest says the address again
        raise InputError(f"cannot listen on {_url(host, port)}: {reason}") from None


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _own_names() -> set[str]:
    """Return the names and addresses that this machine knows it has."""
    name = socket.gethostname()
    try:
        found = socket.getaddrinfo(name, None)
    except OSError:
        found = []
    return {name, socket.getfqdn(), *(str(address[4][0]) for address in found)}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
