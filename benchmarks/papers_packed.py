"""The BiLSTM of the original paper classifier against the same model on packed sequences: python benchmarks/papers_packed.py"""

from side_by_side import ROOT, alternate, header, needs, peer, project, row

CONFIG, OUR_STEPS, PEER_STEPS, REPEATS = "configs/papers_bilstm.yaml", 110, 6, 3


def main() -> None:
    """Measure, and print the table."""
    train = ROOT / "data" / "papers_split" / "train.jsonl"
    runs = alternate(
        {
            "packed": lambda number: peer("packed_bilstm.py", train, PEER_STEPS),
            "ours": lambda number: project(CONFIG, "bench-bilstm", f"train.num_steps={OUR_STEPS}"),
        },
        REPEATS,
    )
    ours = [run.result["train"]["tokens_per_second"] for run in runs["ours"]]
    header("packed sequences")
    row("training", ours, [run.result["tokens_per_second"] for run in runs["packed"]], "at least 10", "tokens/s")
    row("peak memory", [r.peak_mb for r in runs["ours"]], [r.peak_mb for r in runs["packed"]], "-", "MB")


if __name__ == "__main__":
    needs(__doc__, "data/papers_split/train.jsonl")
    main()
