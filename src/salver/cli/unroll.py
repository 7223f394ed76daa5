"""`salver unroll`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from salver.cli.entries import SAID, Method, Minus, NetworkFile, OutputName, Score


def unroll(
    context: typer.Context,
    network: NetworkFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="graph to write; .onnx.gz is compressed")],
    label: Annotated[int, typer.Option("--label", help="class whose logit is explained")],
    minus: Minus = None,
    method: Method = None,
    absolute: Annotated[bool, typer.Option("--abs", help="absolute values of the map")] = False,
    name: OutputName = None,
    score: Score = None,
    input_range: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--range", help="lowest and highest value of an input, such as 0 1: a baseline must lie between"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the output file if it is there")] = False,
) -> None:
    """Write a network and its map as one ONNX file.

    The output is Y = [logits, map].

    `salver methods` lists the methods; each has options of its own.

    Example: salver unroll net.onnx -o map.onnx --label 3 --method smooth --noise-draws 8 --noise-sigma 0.1
    """
    from salver.core.files import refuse_output, write_atomically
    from salver.explain.checked import unrolled
    from salver.nets.onnx.file import refuse_other_name, to_stored
    from salver.points.entries import method_of
    from salver.points.options import LOGIT, refuse_other_score

    refuse_other_name(output)
    refuse_output(output, force=force, inputs=[network], option="--force")
    refuse_other_score(score or LOGIT)
    named = method_of(method or "gradient", context.meta[SAID])
    explanation = named.of(label, minus).model_copy(update={"absolute": absolute})
    classifier, graph, written = unrolled(network, explanation, output=name, input_range=input_range)
    classifier.tell(str(network))
    content = to_stored(output, written)
    refuse_output(output, force=force, inputs=[network], option="--force")
    write_atomically(output, content)
    shapes = f"X [batch,{graph.input_size}] -> Y [batch,{graph.output_size}]"
    print(f"{output}: {shapes} = logits, {explanation.text}")
