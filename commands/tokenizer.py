"""Train a config's tokenizer alone, and write it: python main.py tokenizer configs/pretrain_wikitext.yaml --out FOLDER."""

import argparse

SUMMARY = "train a config's tokenizer alone, and write it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """CONFIG, overrides and the folder."""
    parser.add_argument("config", metavar="CONFIG", help="a config file, such as configs/pretrain_wikitext.yaml")
    parser.add_argument(
        "overrides", metavar="key=value", nargs="*", help="options to change, such as tokenizer.vocab_size=16000"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help="output folder, which must not exist; tokenizer: {name: saved, path: FOLDER} reads it",
    )


def run(options: argparse.Namespace) -> None:
    """Read the training texts, train, and write tokenizer.json and vocab.txt."""
    from pathlib import Path

    from agents import AGENTS, checked_config
    from datasets.tokenizers.pair import TokenizerPair
    from datasets.tokenizers.subword import SubwordTokenizer
    from utils.errors import ConfigError
    from utils.files.storage import new_folder, refuse_existing, write_synced
    from utils.machine.device import choose_device
    from utils.runs.run_log import set_up_console

    set_up_console()
    folder = Path(options.out)
    refuse_existing(folder)
    config = checked_config(options.config, options.overrides)
    tokenizer = AGENTS[config.agent](config, choose_device("cpu")).read_data().artifacts.tokenizer
    if isinstance(tokenizer, TokenizerPair):
        raise ConfigError(
            "target_tokenizer: a folder holds one tokenizer; write each with a config of its own, or leave the section out"
        )
    if not isinstance(tokenizer, SubwordTokenizer):
        raise ConfigError(
            f"tokenizer: {config.tokenizer.name} is made for each run; wordpiece and byte_bpe can be shared"
        )
    names = "".join(f"{tokenizer.token(id)}\n" for id in range(tokenizer.vocab_size))
    files = {"vocab.txt": names.encode(), "tokenizer.json": tokenizer.published().encode()}
    with new_folder(folder, sum(map(len, files.values()))) as temporary:
        for name, content in files.items():
            write_synced(temporary / name, content)
    print(f"{folder}/tokenizer.json, {folder}/vocab.txt: {tokenizer.vocab_size:,} tokens")
