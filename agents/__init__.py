"""The table of agents, and the Python API: `build` a run from a config, `load` a trained one.

from agents import build, load

report = build("configs/bilstm.yaml", {"train.num_epochs": 2}).run()
load("experiments/bilstm").predict(["a text", {"title": "a title", "text": "and a text"}])
"""

import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from agents.base import BaseAgent
from agents.classification import ClassificationAgent
from agents.exports.exported_run import open_run
from agents.pretraining import PretrainingAgent
from agents.regression import RegressionAgent
from agents.running.abilities import Generates
from agents.running.predictor import Predictor
from agents.seq2seq import Seq2SeqAgent
from agents.similarity import SimilarityAgent
from agents.translating.generator import Generator
from graphs.models import ENCODERS
from utils.config.config import Config, load_config
from utils.config.run_settings import RunSettings
from utils.config.schema import blamed_on, changed_defaults, check_config, lookup, options_of
from utils.distributed.shutdown import refuse_many_processes
from utils.machine.device import choose_device
from utils.machine.reproducibility import set_up_torch
from utils.runs.experiment import Experiment, check_name
from utils.runs.run_log import set_up_console

logger = logging.getLogger("glassbox")

AGENTS: dict[str, type[BaseAgent]] = {
    "classification": ClassificationAgent,
    "regression": RegressionAgent,
    "similarity": SimilarityAgent,
    "pretraining": PretrainingAgent,
    "seq2seq": Seq2SeqAgent,
}


def free_options() -> set[str]:
    """The dotted keys of the options that two starts of a run may differ in."""
    sections = itertools.chain.from_iterable(agent.sections.items() for agent in AGENTS.values())
    return set(RunSettings.free) | {f"{key}.{name}" for key, section in sections for name in section.free}


def checked_config(path: str | Path, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Config:
    """A config with its defaults filled in, every name, type and value of it checked. Raises ConfigError; reads no data."""
    shared = dict[str, set[str]]()
    for key, section in itertools.chain.from_iterable(agent.sections.items() for agent in AGENTS.values()):
        shared[key] = shared.get(key, set()).union(*map(options_of, section.shared_parts))
    config = load_config(path, overrides, shared, free_options())
    if "agent" not in config:
        hint = f"; is it a sweep? python main.py sweep {path}" if "space" in config else f"; known: {', '.join(AGENTS)}"
        raise config.error("", f"agent is missing{hint}")
    if isinstance(config.agent, str) and config.agent in ENCODERS:  # what users of other templates try first
        name = config.agent
        raise config.error("agent", f"agent: {name} is a model; write agent: classification, model: {{name: {name}}}")
    agent = lookup(AGENTS, config.agent, config, "agent")
    agent.complete(config)
    check_config(config, agent.sections, RunSettings)
    for line in changed_defaults(config):
        logger.warning("warning: %s", line)
    config.train["monitor"] = config.train.monitor or agent.monitor
    with blamed_on(config, "", config):
        RunSettings(**{key: value for key, value in config.items() if key not in agent.sections})
        choose_device(config.device)
    check_name(config)
    agent.check(config)
    return config


def content_of(config: Config) -> str:
    """A hash of what the files of a checked config's data hold now. Raises DataError where they cannot be read."""
    return AGENTS[config.agent](config, torch.device("cpu")).content()


def build(path: str | Path, overrides: Sequence[str] | Mapping[str, Any] = (), *, is_fresh: bool = False) -> BaseAgent:
    """The agent of a config, its folder claimed, its data read; `run` trains it. Overrides: {"train.num_epochs": 2}."""
    refuse_many_processes("build")
    set_up_console()
    config = checked_config(path, overrides)
    return build_agent(config, Experiment.open(config, is_fresh=is_fresh))


def build_agent(config: Config, experiment: Experiment) -> BaseAgent:
    """The agent of a checked config and its claimed folder; seeded before anything is built."""
    try:
        num_threads = max(1, config.num_threads // experiment.worker.local_size)
        set_up_torch(num_threads, config.seed, is_deterministic=config.deterministic)
        agent = AGENTS[config.agent](config, experiment.worker.choose_device(config.device), experiment.worker)
        agent.prepare(experiment)
        return agent
    except BaseException:
        experiment.abandon()
        raise


def load(folder: str | Path, device: str = "cpu") -> Predictor:
    """The trained model of a run's folder, such as experiments/bilstm: a `Generator` of one that writes texts."""
    is_writer = issubclass(open_run(Path(folder)).agent_type, Generates)
    return (Generator if is_writer else Predictor)(folder, device)
