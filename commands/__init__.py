"""Registry of commands: each is a module with SUMMARY, add_arguments(parser) and run(options)."""

from types import ModuleType

from commands import (
    audit,
    board,
    compare,
    curve,
    explain,
    export,
    fill,
    find_lr,
    generate,
    minimal_pairs,
    new,
    predict,
    prepare,
    serve,
    sweep,
    test,
    tokenizer,
    train,
    verify,
    walk,
)
from commands import inspect as inspect_command
from commands import list as list_command

COMMANDS: dict[str, ModuleType] = {
    "train": train,
    "test": test,
    "predict": predict,
    "generate": generate,
    "explain": explain,
    "serve": serve,
    "sweep": sweep,
    "compare": compare,
    "curve": curve,
    "board": board,
    "inspect": inspect_command,
    "find-lr": find_lr,
    "walk": walk,
    "audit": audit,
    "list": list_command,
    "prepare": prepare,
    "export": export,
    "verify": verify,
    "fill": fill,
    "minimal-pairs": minimal_pairs,
    "tokenizer": tokenizer,
    "new": new,
}
SHARED = ("train", "test", "predict", "generate")  # commands that can run on several ranks, under torchrun
RESUMED = ("train", "sweep", "curve")  # commands that go on from the last checkpoints when they are given once more
