"""Take one text through a model, and print each tensor with its shape, some of its numbers and the line of code that made it.

With --label, also the norm of the loss's gradient with respect to each tensor. RUN is a trained run; of a CONFIG the model is a
new one, as it is before its first step. The model runs without dropout and by the plain padded code.
"""

import argparse
import math
import sys
from typing import TYPE_CHECKING, Any

from utils.errors import printable

if TYPE_CHECKING:
    from agents.inspecting.tracing import Numbers
    from agents.inspecting.walking import Walk

SUMMARY = "take one text through a model: every tensor, with the line that made it"
NUMBERS, TOKENS = 4, 24  # of each tensor that are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the text and its answer."""
    parser.add_argument("place", metavar="RUN|CONFIG", help="a run's folder, or a config, such as configs/bilstm.yaml")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="options of CONFIG to change")
    parser.add_argument(
        "--text",
        required=True,
        help="the text, or for several fields a JSON object; for a masked language model with a gap [MASK], else its middle token "
        "is masked",
    )
    parser.add_argument(
        "--label",
        metavar="ANSWER",
        help="its label, number, target text, or the token in the gap: prints gradients, too",
    )
    parser.add_argument("--all", action="store_true", help="print every layer in full, not the first alone")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(options: argparse.Namespace) -> None:
    """Open the model, walk and print."""
    from agents.inspecting.opening import opened
    from agents.inspecting.walking import walk
    from commands.input_output import text_of
    from utils.machine.streams import to_json
    from utils.runs.run_log import set_up_console

    set_up_console()
    with opened(options.place, options.overrides) as agent:
        text = text_of(options.text, list(agent.config.data.get("fields", [])))
        found = walk(agent, text, options.label)
    sys.stdout.write(to_json(as_values(found), sys.stdout) if options.json else as_text(found, is_whole=options.all))


def as_text(found: "Walk", *, is_whole: bool) -> str:
    """The inputs, and below each module's name what it makes."""
    from agents.inspecting.walking import folded

    lines, module = [], None
    for name, (numbers, tokens) in found.inputs.items():
        lines.append(f"{name} {described(numbers)}")
        if tokens:
            lines.append("    " + printable(" ".join(tokens[:TOKENS])) + " ..." * (len(tokens) > TOKENS))
    for made, num_left_out in [(made, 0) for made in found.made] if is_whole else folded(found.made):
        if made.module != module:
            module = made.module
            lines += ["", module or "(the model)"]
        if num_left_out:
            lines.append(f"  the same {num_left_out + 1} lines; the last (--all shows each):")
        lines.append(f"  {made.file}:{made.line}  {made.code}")
        gradient = made.gradient
        lines.append(f"      {described(made.numbers)}" + ("" if gradient is None else f"  gradient {gradient:.3g}"))
    lines.append("")
    lines += [f"{name} {in_words(value)}" for name, value in found.answer.items()]
    lines += [f"loss {found.loss:.4f}"] if found.loss is not None else []
    return "\n".join(lines) + "\n"


def in_words(value: Any) -> str:
    """A part of what the model says."""
    if isinstance(value, dict):
        return "  ".join(f"{printable(name)} {number:.4f}" for name, number in value.items())
    return printable(str(value))


def described(numbers: "Numbers") -> str:
    """A tensor's shape, of floats mean and standard deviation, and its first numbers."""
    is_float, count = "float" in numbers.dtype, NUMBERS if "float" in numbers.dtype else 2 * NUMBERS
    first = " ".join(f"{value:.3g}" if is_float else str(value) for value in numbers.first[:count])
    shape = f"({', '.join(map(str, numbers.shape))}){'' if numbers.dtype == 'float32' else ' ' + numbers.dtype}"
    spread = "" if numbers.mean is None or not numbers.shape else f"  mean {numbers.mean:.3g}  std {numbers.std:.3g}"
    return f"{shape}{spread}  [{first}{' ...' * (math.prod(numbers.shape) > count)}]"


def as_values(found: "Walk") -> dict[str, Any]:
    """Everything."""
    inputs = {name: {**vars(numbers), "tokens": tokens} for name, (numbers, tokens) in found.inputs.items()}
    made = [
        {
            "module": each.module,
            "place": f"{each.file}:{each.line}",
            "code": each.code,
            **vars(each.numbers),
            "gradient": each.gradient,
        }
        for each in found.made
    ]
    return {"inputs": inputs, "made": made, **found.answer, "loss": found.loss}
