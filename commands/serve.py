"""Serve trained runs as a web page, and as JSON: python main.py serve experiments/bert_minilm experiments/boe

It listens on this machine alone, by default, and asks no other machine for anything. Ctrl-C or SIGTERM ends it once what has been
accepted is answered; a second Ctrl-C ends it at once. docs/serving.md has the endpoints.
"""

import argparse
import errno
import logging
import os
import socket
from typing import TYPE_CHECKING

from commands.input_output import add_device
from utils.errors import ConfigError, Stopped, counted

if TYPE_CHECKING:
    import uvicorn

    from agents.serving.app import Door

SUMMARY = "serve trained runs as a web page and as JSON"
BACKLOG = 2048  # connections that wait to be accepted
DRAIN_SECONDS = 30  # for accepted requests to be answered in after a signal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The runs, the address and the batches."""
    parser.add_argument("folders", metavar="RUN", nargs="+", help="a run's folder, such as experiments/bert_minilm")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; default: 127.0.0.1, this machine alone"
    )
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="default: 8000; 0: any free one")
    parser.add_argument("--max-batch", type=int, default=64, metavar="N", help="texts computed together; default: 64")
    parser.add_argument(
        "--max-waiting",
        type=int,
        default=1024,
        metavar="N",
        help="texts a run keeps waiting before it answers 503; default: 1024",
    )
    add_device(parser)


def run(options: argparse.Namespace) -> None:
    """Listen, open the runs, print the address, and answer until a signal comes."""
    from utils.runs.run_log import set_up_console

    set_up_console()
    for name in ("max_batch", "max_waiting"):
        if getattr(options, name) < 1:
            raise ConfigError(
                f"command line: --{name.replace('_', '-')} must be at least 1, got {getattr(options, name)}"
            )
    try:
        import uvicorn

        from agents.serving.app import Door, build_app
    except ModuleNotFoundError as error:
        raise ConfigError(f"serve: needs the package {error.name}: pip install fastapi uvicorn") from None
    from agents.serving.served_run import open_runs

    with listening(options.host, options.port) as listener:
        runs = open_runs(options.folders, options.device, max_batch=options.max_batch, max_waiting=options.max_waiting)
        door = Door(build_app(runs))
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a bug; not each request that is no HTTP
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # a flood beyond the process's open files is survived
        config = uvicorn.Config(
            door, http="h11", ws="none", loop="asyncio", log_config=None, access_log=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )  # fmt: skip
        print(f"serving {', '.join(runs)}: http://{address_of(listener)} (Ctrl-C ends it)", flush=True)
        serve(uvicorn.Server(config), listener, door)


def serve(server: "uvicorn.Server", listener: socket.socket, door: "Door") -> None:
    """Answer until a signal comes. Raises Stopped, as the signal asks, once what was accepted is answered."""
    try:
        server.run([listener])
    except Stopped as stop:  # uvicorn raises the signal again once it has ended
        lost = door.accepted - door.answered
        late = f"; {counted(lost, 'accepted request')} had no answer after {DRAIN_SECONDS} s" if lost else ""
        message = f"stopped: {counted(door.answered, 'request')} answered{late}"
        raise Stopped(message, stop.exit_code - 128) from None


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; who connects while the runs are opened waits. Raises ConfigError."""
    if not 0 <= port < 2**16:
        raise ConfigError(f"command line: --port must be between 0 and {2**16 - 1}, got {port}")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        hint = "; try --port 0, any free one" if error.errno in (errno.EADDRINUSE, errno.EACCES) else ""
        reason = (
            os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        )  # below 0: an unknown host
        raise ConfigError(f"command line: cannot listen at {host}:{port}: {reason}{hint}") from None


def address_of(listener: socket.socket) -> str:
    """HOST:PORT, with brackets around an address of IPv6."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
