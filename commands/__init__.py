"""Registry of commands: each is a module with SUMMARY, add_arguments(parser) and run(options)."""

from types import ModuleType

from commands import (
    board,
    compare,
    curve,
    export,
    fill,
    generate,
    minimal_pairs,
    predict,
    prepare,
    test,
    tokenizer,
    train,
)
from commands import list as list_command

COMMANDS: dict[str, ModuleType] = {
    "train": train,
    "test": test,
    "predict": predict,
    "generate": generate,
    "compare": compare,
    "curve": curve,
    "board": board,
    "list": list_command,
    "prepare": prepare,
    "export": export,
    "fill": fill,
    "minimal-pairs": minimal_pairs,
    "tokenizer": tokenizer,
}
SHARED = ("train", "test", "predict", "generate")  # commands that can run on several ranks, under torchrun
