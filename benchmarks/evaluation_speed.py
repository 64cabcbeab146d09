"""Texts evaluated a second by a config's model as it is at first: python benchmarks/evaluation_speed.py CONFIG [key=value ...]

Tokens are ready and the model is warm before the clock starts, as in the peer; the last line is JSON.
"""

import json
import sys
import time

from side_by_side import ROOT, needs

sys.path.insert(0, str(ROOT))
from agents import build


def main(config: str, overrides: list[str]) -> None:
    """Evaluate the validation split twice; the second time counts."""
    agent = build(config, overrides, is_fresh=True)
    loader = agent.data.loaders["valid"]
    try:
        for _ in range(2):
            started = time.perf_counter()
            agent.evaluate("valid", agent.new_metrics())
            seconds = time.perf_counter() - started
    finally:
        agent.experiment.close()
    print(json.dumps({"texts_per_second": len(loader) / seconds}))


if __name__ == "__main__":
    needs(__doc__, arguments=1)
    main(sys.argv[1], sys.argv[2:])
