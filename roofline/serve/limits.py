"""What one request may ask of the service, and how long the service waits for whom."""

from __future__ import annotations

from dataclasses import dataclass, fields

from roofline.errors import InputError
from roofline.numeric import whole_number

MIB = 2**20
#: a limit beyond it is none
MOST = 1 << 40
UNREADABLE, SLOW, TOO_LARGE, MISDIRECTED, UNPROCESSABLE, BUSY = 400, 408, 413, 421, 422, 503


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one request, and of the service.

    Attributes
    ----------
    body_bytes
        Largest body.
    values
        Numbers, words and keys in a body of JSON, told by its commas.
    answer_bytes
        Largest answer.
    simulations
        Networks in one batch of simulations.
    candidates
        Genomes in one batch.
    ops, tensors
        Ops of a graph, or blocks of an architecture, that a request brings along; tensors of a graph.
    all_ops
        Ops and blocks of all networks of a request together.
    variants
        Networks that one architecture describes.
    time_s
        Seconds until the body of a request has to be there; from then on, until it is given up, waiting included.
    header_s, take_s, idle_s
        Seconds until the head of a request has to be there, until its answer has to be taken, and until a connection
        without a request is closed.
    grace_s
        Seconds that requests under way have to end once the service is to end.
    memory_bytes
        Memory of the process that answers a request, where the system limits it.
    held_bytes
        Bodies and answers of all requests together.
    connections
        Sockets; one that only waits is closed for one more.
    oracles
        Tables of search spaces kept in memory by each process; the one asked least recently goes.
    workers
        Processes of each kind (`roofline.serve.gate`).
    """

    body_bytes: int = 128 * MIB
    values: int = 8_000_000
    answer_bytes: int = 128 * MIB
    simulations: int = 256
    candidates: int = 4_000_000
    ops: int = 20_000
    tensors: int = 100_000
    all_ops: int = 50_000
    variants: int = 1_000
    time_s: float = 60.0
    header_s: float = 10.0
    take_s: float = 60.0
    idle_s: float = 75.0
    grace_s: float = 10.0
    memory_bytes: int = 4096 * MIB
    held_bytes: int = 1024 * MIB
    connections: int = 1_000
    oracles: int = 8
    workers: int = 1

    def __post_init__(self) -> None:
        """Check that every limit is positive.

        Raises
        ------
        InputError
            One is not.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_s"):
                if not value > 0:
                    raise InputError(f"{field.name} must be above 0, got {value!r}")
            else:
                whole_number(value, field.name, most=MOST)
