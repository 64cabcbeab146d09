"""The options that may differ between two starts of a run, as the sections declare them."""

from pathlib import Path

from agents import AGENTS, checked_config
from utils.config.run_settings import RunSettings
from utils.config.schema import options_of

FREE = """name device num_threads data.num_workers data.cache_folder data.max_row_bytes distributed.strategy distributed.timeout
    train.num_epochs train.num_steps train.patience train.save_every train.log_every train.keep
    generation.beam_size generation.length_penalty generation.with_greedy generation.early_stop generation.sample generation.temperature generation.top_k
    generation.top_p tracker.name tracker.project tensorboard.histograms tensorboard.graph tensorboard.profile tensorboard.projector"""


def test_what_is_free_is_an_option_of_its_section() -> None:
    assert options_of(RunSettings).keys() >= set(RunSettings.free)
    for agent in AGENTS.values():
        for key, section in agent.sections.items():
            known = set().union(*map(options_of, [*section.shared_parts, *(section.parts or {}).values()]))
            assert known | ({"name"} if section.parts else set()) >= set(section.free), key


def test_these_are_free_and_nothing_else(workplace: Path) -> None:
    words = ["num_threads=1", "distributed={timeout: 3.0}", "train.keep=3", "seed=2"]
    config = checked_config("tiny.yaml", words)
    assert config.free == set(FREE.split())
    assert config.name == "tiny-seed=2"
    assert config.fixed()["seed"] == 2
    assert not config.fixed().keys() & config.free
