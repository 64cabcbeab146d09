"""Checks of options shared by several models."""

MAX_LAYERS = 100  # more than any model in the literature


def check_sizes(**sizes: int) -> None:
    """Raise ValueError for a size under 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def check_layers(num_layers: int, name: str = "num_layers") -> None:
    """Raise ValueError for an implausible number of layers: building them would take minutes."""
    if not 1 <= num_layers <= MAX_LAYERS:
        raise ValueError(f"{name} must be between 1 and {MAX_LAYERS}, got {num_layers}")


def check_probabilities(**probabilities: float) -> None:
    """Raise ValueError for a probability that is not in [0, 1)."""
    for name, p in probabilities.items():
        if not 0 <= p < 1:
            raise ValueError(f"{name} must be in [0, 1), got {p}")
