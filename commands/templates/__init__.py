"""What `python main.py new` writes for each kind of part. The folder of a kind holds its templates: plain text files under the
paths that they get in the checkout, with NAME in these paths, and in the text $name (text_cnn), $Name (TextCnn) and
$command (text-cnn).
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from string import Template

from utils.files import source_edits

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Edit:
    """One entry in a table of an existing file, and the import that it needs.

    A template of the same path is written above the table; symbol: the name that is imported or defined.
    """

    path: str
    table: str
    entry: str
    module: str = ""
    symbol: str = ""

    def of(self, names: Mapping[str, str]) -> "Edit":
        """The edit for a part of this name."""
        return Edit(*(Template(value).substitute(names) for value in astuple(self)))

    def apply(self, source: str, code: str | None) -> str:
        """The source of the file with the entry; code: what stands above the table, None for nothing. Raises ValueError."""
        if code is not None:
            source = source_edits.with_code_above(source, self.table, code)
        if self.module:
            source = source_edits.with_import(source, self.module, self.symbol)
        return source_edits.with_entry(source, self.table, self.entry)


@dataclass(frozen=True)
class Kind:
    """A kind of part."""

    edits: tuple[Edit, ...]  # the first is the registry of the kind
    to_edit: tuple[str, ...]  # what to edit next
    tests: str  # tests of all parts of the kind, besides the one that is written
    others: tuple[tuple[str, str], ...] = ()  # (file, table): other tables that must not have the name either
    reserved: tuple[str, ...] = ()  # names that mean something else
    use: tuple[str, ...] = ("python main.py configs/$name.yaml",)


AGENTS, ENCODERS = ("agents/__init__.py", "AGENTS"), ("graphs/models/__init__.py", "ENCODERS")
KINDS = {
    "model": Kind(
        edits=(Edit(*ENCODERS, '"$name": $Name,', "graphs.models.$name", "$Name"),),
        others=(AGENTS,),
        to_edit=(
            "graphs/models/$name.py: `forward` is the encoder, `output_size` the size of what it gives",
            "tests/graphs/models/test_$name.py: your formula, computed in another way",
            "configs/$name.yaml: the options",
        ),
        tests="tests/graphs/models -k $name",
    ),
    "agent": Kind(
        edits=(
            Edit(*AGENTS, '"$name": ${Name}Agent,', "agents.$name", "${Name}Agent"),
            Edit("tests/agents/test_contract.py", "CASES", '"$name": [],'),
        ),
        others=(ENCODERS,),
        to_edit=(
            "agents/$name.py: `target`, `build_model`, `compute_loss`, `new_metrics`, `predictions`; all hooks: agents/task.py",
            "tests/agents/test_$name.py: what your task learns",
            "tests/agents/test_contract.py: in CASES, the options with which the tests of every agent train it",
        ),
        tests="tests/agents/test_contract.py -k $name",
    ),
    "loss": Kind(
        edits=(
            Edit("graphs/losses/__init__.py", "LOSSES", '"$name": $Name,', "graphs.losses.$name", "$Name"),
            Edit(
                "tests/graphs/losses/test_losses.py",
                "VARIANTS",
                '"$name": $Name(LABELS, class_weights=WEIGHTS),',
                "graphs.losses.$name",
                "$Name",
            ),
        ),
        to_edit=(
            "graphs/losses/$name.py: `forward` gives the sum over counted labels, `count` its divisor",
            "tests/graphs/losses/test_$name.py: your formula by hand",
        ),
        tests="tests/graphs/losses/test_losses.py",
    ),
    "dataset": Kind(
        edits=(Edit("datasets/__init__.py", "DATASETS", '"$name": $Name,', "datasets.sources.$name", "$Name"),),
        others=(("datasets/__init__.py", "PAIR_DATASETS"),),
        to_edit=(
            "datasets/sources/$name.py: `splits`, `files(split)` and `rows(split)`, for your format",
            "tests/datasets/sources/$name.txt: a small sample of your data, which the test reads",
            "configs/$name.yaml: the path of your data, its fields",
        ),
        tests="tests/commands/test_list.py",
    ),
    "metric": Kind(
        edits=(
            Edit("utils/metrics/label_counts.py", "METRICS", '"$name": $name,', symbol="$name"),
            Edit(
                "tests/utils/scikit_learn.py",
                "EXPECTED",
                '"$name": partial(sklearn.jaccard_score, average="macro", zero_division=0),',
            ),
        ),
        others=(("utils/metrics/scores.py", "SCORES"),),
        reserved=("step", "split", "loss", "majority_accuracy", "per_class", "confusion_matrix"),
        to_edit=(
            "utils/metrics/label_counts.py: the function `$name`; in SINGLE_LABEL, whether it needs one label per text",
            "tests/utils/scikit_learn.py: scikit-learn's function, or one of your own",
            "tests/utils/metrics/test_$name.py: a value by hand",
        ),
        tests="tests/utils/metrics/test_label_metrics.py tests/utils/analysis/test_row_metrics.py",
    ),
    "command": Kind(
        edits=(
            Edit("commands/__init__.py", "COMMANDS", '"$command": $name,', "commands", "$name"),
            Edit(
                "tests/reliability/test_streams.py",
                "COMMANDS",
                '"$command": ["$command", "experiments/tiny", "--text", "boil the rice"],',
            ),
        ),
        to_edit=(
            "commands/$name.py: `SUMMARY`, `add_arguments` and `run`",
            "tests/commands/test_$name.py: what it prints, and what it refuses",
            "tests/reliability/test_streams.py: in COMMANDS, a call of it, which is tested with closed and full streams",
        ),
        tests="tests/reliability/test_streams.py -k '$name or $command'",
        use=("python main.py configs/boe.yaml", 'python main.py $command experiments/boe --text "A late goal"'),
    ),
    "experiment": Kind(
        edits=(),
        to_edit=(
            "configs/$name.yaml: `base` is any config of the folder, below it stands what differs from it",
            "tests/test_$name.py: the base, and what differs",
        ),
        tests="tests/test_architecture.py",
    ),
}


def templates_of(kind: str, names: Mapping[str, str]) -> dict[str, str]:
    """{path in the checkout: content} of a part of this name."""
    return {
        str(path.relative_to(FOLDER / kind)).removesuffix(".txt").replace("NAME", names["name"]): Template(
            path.read_text(encoding="utf-8")
        ).substitute(names)
        for path in sorted((FOLDER / kind).rglob("*.txt"))
    }
