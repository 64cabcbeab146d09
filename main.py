"""python main.py CONFIG [key=value ...]: one experiment, from text to test report. python main.py --help lists the commands."""

import argparse
import contextlib
import difflib
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from commands import COMMANDS, GROUPS, RESUMED, SHARED
from utils.errors import ConfigError, GlassboxError, Stopped, StorageError, printable
from utils.machine import signals, streams

OF_ANY_TEXT = ("--text", "--prefix", "--label")  # options whose value may begin with a dash
EPILOG = """\
commands (python main.py COMMAND --help):
{commands}

exit codes: 0 ok; 1 a bug in Glassbox; 2 config or usage; 3 data; 4 no usable checkpoint or run; 5 storage, or a run in use;
6 a loss, gradient or monitored metric that is not finite; 7 distributed; 130, 143 and 129 after Ctrl-C, SIGTERM and SIGHUP:
run the same command to resume. Standard output counts as storage: 5 if it cannot be written, 0 if its reader has gone.
"""


def main(arguments: list[str]) -> int:
    """Run a command, by default `train`; -> the exit code. The last line on stderr is the error."""
    # OpenMP's threads spin while they wait for each other, by default for long: on a machine that is busy with other things,
    # too, that makes two threads 10 times slower than they are after a short spin. Read when a command imports torch.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # or a trace by torch.profiler is told on stderr
    if os.environ.get("WORLD_SIZE", "1") != "1":  # or DDP warns that find_unused_parameters has found none
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    streams.prepare()
    arguments = joined(arguments)
    is_debug = "--debug" in arguments
    try:
        with signals.installed():
            code = run([argument for argument in arguments if argument != "--debug"])
            sys.stdout.flush()  # what does not reach the disk decides the code
            return code
    except (GlassboxError, Stopped) as error:
        if is_debug:
            traceback.print_exc()
        if text := str(error):
            print(text, file=sys.stderr)
        return error.exit_code
    except PermissionError as error:  # of a place that cannot even be looked at, such as one in another user's folder
        if is_debug or error.filename is None:
            raise
        print(printable(f"{error.filename}: cannot be accessed: {error.strerror}"), file=sys.stderr)
        return StorageError.exit_code


def joined(arguments: list[str]) -> list[str]:
    """The arguments with --text and the like and its value as one, `--text=-bad`: argparse takes a dash for that of an option."""
    words = iter(arguments)
    return [
        f"{word}={value}" if word in OF_ANY_TEXT and (value := next(words, None)) is not None else word
        for word in words
    ]


class StoreOnce(argparse.Action):
    """Stores an option's value, and refuses a second one, of which argparse would silently keep the last."""

    is_stored = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if self.option_strings and self.is_stored:
            raise ConfigError(f"command line: {option_string} is given twice")
        self.is_stored = True
        setattr(namespace, self.dest, values)


def run(arguments: list[str]) -> int:
    """Take the command and its options from the words of the command line, and run it; -> the exit code."""
    if not arguments:
        print("command line: no config is given; try python main.py configs/bilstm.yaml, or --help", file=sys.stderr)
        return 2
    name = arguments[0] if arguments[0] in COMMANDS else "train"
    if name != arguments[0] and (meant := _meant_command(arguments[0])):
        raise ConfigError(f"command line: there is no command {arguments[0]!r}; did you mean {meant}?")
    command, parser = COMMANDS[name], _parser(name)
    if name not in RESUMED:
        signals.without_hint()
    if name not in SHARED and "WORLD_SIZE" in os.environ:
        from utils.distributed.shutdown import refuse_many_processes  # imports torch: 2 s that --help does not need

        refuse_many_processes(name)
    command.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    try:
        options = parser.parse_intermixed_args(arguments[1:] if arguments[:1] == [name] else arguments)
    except Stopped:
        raise
    except SystemExit as end:  # argparse has printed its help, or what is wrong
        return int(end.code or 0)
    if empty := [option for option, value in vars(options).items() if value in ("", [""]) and option != "text"]:
        raise ConfigError(f"command line: {empty[0]} is empty (a variable of the shell that is not set?)")
    if getattr(options, "fresh", False):
        signals.starts_over()
    if getattr(options, "text", None) == []:  # argparse takes the text `--` for the end of the options
        options.text = "--"
    command.run(options)
    return 0


def _meant_command(word: str) -> str | None:
    """The command that is closest to a word, unless it names a file, or a config is closer."""
    if not word.replace("_", "").replace("-", "").isalpha() or Path(word).exists():
        return None
    close = difflib.get_close_matches(
        word.replace("_", "-"), [*COMMANDS, *(path.stem for path in Path("configs").glob("*.yaml"))], n=1
    )
    return close[0] if close and close[0] in COMMANDS else None


def _parser(name: str) -> argparse.ArgumentParser:
    lines = []
    for other, command in COMMANDS.items():
        lines += [f"  {GROUPS[other]}:"] if other in GROUPS else []
        lines.append(f"    {other:<13} {command.SUMMARY}")
    is_default = name == "train"
    parser = argparse.ArgumentParser(
        prog="python main.py" if is_default else f"python main.py {name}",
        description=COMMANDS[name].__doc__,
        epilog=EPILOG.format(commands="\n".join(lines)) if is_default else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # or --seed 3, meant as seed=3, is --seeds 3
    )
    parser.register("action", None, StoreOnce)  # the action of an option that names none
    return parser


def leave(code: int) -> NoReturn:
    """End the process without taking the interpreter down: that costs up to 1 s after torch, and nothing is left to do."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(GlassboxError, OSError):  # the code already tells what was first to fail
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
