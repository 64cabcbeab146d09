"""Start TensorBoard on the runs of a folder, with a run for each config of several seeds: python main.py board.

It listens on this machine alone. The mean is among Scalars, as the run seeds/NAME, its band on the page Custom Scalars.
"""

import argparse
import logging
import threading
from pathlib import Path

SUMMARY = "start TensorBoard on experiments/, with the mean and band of several seeds"
SAMPLES = (
    "text=200,images=50"  # of each tag; by default TensorBoard keeps 10, and most validations' texts would be gone
)

logger = logging.getLogger("glassbox")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The folder and the port."""
    parser.add_argument("folder", metavar="FOLDER", nargs="?", default="experiments", help="default: experiments")
    parser.add_argument("--port", metavar="N", type=int, help="default: 6006, or the next free one; 0: any free one")


def run(options: argparse.Namespace) -> None:
    """Write the groups, start the server, print its address, and wait for Ctrl-C."""
    from agents import free_options
    from utils.analysis.finding import GROUPS, find_runs
    from utils.analysis.group_log import is_taken, write_columns, write_groups
    from utils.analysis.groups import begun, by_rows, grouped, named_apart
    from utils.errors import ConfigError, Stopped
    from utils.runs.run_log import set_up_console

    set_up_console()
    folder = Path(options.folder)
    if options.port is not None and not 0 <= options.port < 2**16:
        raise ConfigError(f"command line: --port must be between 0 and {2**16 - 1}, got {options.port}")
    found = find_runs([folder])
    recipes = named_apart([group for members in by_rows(found.runs) for group in grouped(members)])
    if is_taken(folder):
        logger.warning("%s is a run, so no groups of seeds are written there; rename its folder", folder / GROUPS)
    groups = write_groups(recipes, folder)
    metrics = list(dict.fromkeys(name for run in found.runs for name in run.results))
    write_columns([*recipes, *begun(found)], metrics, folder, left_out=free_options())
    logger.info(
        "%d finished runs, %d unfinished, %d groups of seeds", len(found.runs), len(found.unfinished), len(groups)
    )
    print(f"TensorBoard: {launched(folder, options.port)} (Ctrl-C ends it)", flush=True)
    try:
        threading.Event().wait()
    except Stopped as stop:
        raise Stopped("TensorBoard has ended", stop.exit_code - 128) from None


def launched(folder: Path, port: int | None) -> str:
    """Start TensorBoard in this process; -> its address. Raises ConfigError for a port that is in use."""
    from tensorboard import program

    from utils.errors import ConfigError, Stopped

    server = program.TensorBoard()
    words = ["--logdir", str(folder), "--host", "localhost", "--samples_per_plugin", SAMPLES]
    server.configure(argv=["tensorboard", *words, *([] if port is None else ["--port", str(port)])])
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    try:
        return str(server.launch())
    except Stopped:
        raise
    except (program.TensorBoardServerException, SystemExit) as error:
        raise ConfigError(f"command line: TensorBoard cannot listen: {error}; try --port 0, any free one") from None
