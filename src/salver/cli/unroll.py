"""`salver unroll`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def unroll(
    network: Annotated[Path, typer.Argument(help="ONNX (.onnx, .onnx.gz) or Keras HDF5 classifier")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="gradient network to write; .onnx.gz is compressed")
    ],
    label: Annotated[int, typer.Option("--label", help="class whose logit is explained")],
    other: Annotated[int | None, typer.Option("--minus", help="class whose logit is subtracted")] = None,
    absolute: Annotated[bool, typer.Option("--abs", help="absolute values of the gradient")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace the output file if it is there")] = False,
) -> None:
    """Unroll a network and its gradient into one ONNX file. Its output is Y = [logits, saliency].

    Example: salver unroll net.onnx -o grad.onnx --label 3
    """
    from salver.core.files import refuse_output, write_atomically
    from salver.explain.gradient import Gradient
    from salver.explain.reference import probes, refuse_misread, refuse_wrong_graph
    from salver.nets.keras.file import read_keras
    from salver.nets.network import single
    from salver.nets.onnx.file import load_model, refuse_other_name, to_stored
    from salver.nets.onnx.reader import read_onnx
    from salver.nets.onnx.writer import to_bytes, to_model

    refuse_other_name(output)
    refuse_output(output, force=force, inputs=[network], option="--force")
    is_keras = network.suffix.lower() in {".h5", ".hdf5"}
    classifier = read_keras(network)[0] if is_keras else single(read_onnx(network), str(network))
    explanation = Gradient(logit=label, minus=other, absolute=absolute)
    graph = explanation.graph(classifier)
    metadata = {"salver.explained": explanation.text, "salver.logits": str(classifier.output_size)}
    written, points = to_bytes(to_model(graph, metadata)), probes(classifier)
    if not is_keras:
        refuse_misread(load_model(network), classifier, points, str(network))
    expected = explanation.reference_outputs(classifier, points.x)
    refuse_wrong_graph(written, graph, expected, points, classifier.output_size)
    content = to_stored(output, written)
    refuse_output(output, force=force, inputs=[network], option="--force")
    write_atomically(output, content)
    shapes = f"X [1,{graph.input_size}] -> Y [1,{graph.output_size}]"
    print(f"{output}: {shapes} = logits, {explanation.text}")
