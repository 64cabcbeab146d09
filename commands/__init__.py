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
    "sweep": sweep,
    "compare": compare,
    "curve": curve,
    "board": board,
    "inspect": inspect_command,
    "find-lr": find_lr,
    "walk": walk,
    "list": list_command,
    "test": test,
    "predict": predict,
    "generate": generate,
    "explain": explain,
    "serve": serve,
    "audit": audit,
    "export": export,
    "verify": verify,
    "fill": fill,
    "minimal-pairs": minimal_pairs,
    "tokenizer": tokenizer,
    "prepare": prepare,
    "new": new,
}
GROUPS = {  # in --help, by the first command of each
    "train": "train and compare",
    "inspect": "look before or inside",
    "test": "use a trained run",
    "fill": "pre-training",
    "prepare": "set up and extend",
}
SHARED = ("train", "test", "predict", "generate")  # commands that can run on several ranks, under torchrun
RESUMED = ("train", "sweep", "curve")  # commands that go on from the last checkpoints when they are given once more
