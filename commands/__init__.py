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

# As --help shows them.
GROUPS: dict[str, dict[str, ModuleType]] = {
    "train and compare": {"train": train, "sweep": sweep, "compare": compare, "curve": curve, "board": board},
    "look before or inside": {"inspect": inspect_command, "find-lr": find_lr, "walk": walk, "list": list_command},
    "use a trained run": {
        "test": test,
        "predict": predict,
        "generate": generate,
        "explain": explain,
        "serve": serve,
        "audit": audit,
        "export": export,
        "verify": verify,
    },
    "pre-training": {"fill": fill, "minimal-pairs": minimal_pairs, "tokenizer": tokenizer},
    "set up and extend": {"prepare": prepare, "new": new},
}
COMMANDS: dict[str, ModuleType] = {name: command for group in GROUPS.values() for name, command in group.items()}
SHARED = ("train", "test", "predict", "generate")  # commands that can run on several ranks, under torchrun
RESUMED = ("train", "sweep", "curve")  # commands that go on from the last checkpoints when they are given once more
