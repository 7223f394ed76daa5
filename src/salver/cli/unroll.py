"""`salver unroll`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def unroll(
    network: Annotated[Path, typer.Argument(help="ONNX (.onnx, .onnx.gz) or Keras (.keras, .h5) classifier")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="gradient network to write; .onnx.gz is compressed")
    ],
    label: Annotated[int, typer.Option("--label", help="class whose logit is explained")],
    other: Annotated[int | None, typer.Option("--minus", help="class whose logit is subtracted")] = None,
    absolute: Annotated[bool, typer.Option("--abs", help="absolute values of the gradient")] = False,
    name: Annotated[
        str | None, typer.Option("--output-name", help="which of a network's outputs holds the scores")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the output file if it is there")] = False,
) -> None:
    """Unroll a network and its gradient into one ONNX file. Its output is Y = [logits, saliency].

    Example: salver unroll net.onnx -o grad.onnx --label 3
    """
    from salver.core.files import refuse_output, write_atomically
    from salver.explain.checked import unrolled
    from salver.explain.gradient import Gradient
    from salver.nets.onnx.file import refuse_other_name, to_stored

    refuse_other_name(output)
    refuse_output(output, force=force, inputs=[network], option="--force")
    explanation = Gradient(logit=label, minus=other, absolute=absolute)
    classifier, graph, written = unrolled(network, explanation, output=name)
    classifier.tell(str(network))
    content = to_stored(output, written)
    refuse_output(output, force=force, inputs=[network], option="--force")
    write_atomically(output, content)
    shapes = f"X [1,{graph.input_size}] -> Y [1,{graph.output_size}]"
    print(f"{output}: {shapes} = logits, {explanation.text}")
