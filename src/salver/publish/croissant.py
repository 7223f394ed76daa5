"""A published set as Croissant 1.0 metadata (https://docs.mlcommons.org/croissant/docs/croissant-spec.html)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from salver.families.instance import Manifest
from salver.publish.census import Census
from salver.publish.rights import Rights, citation

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_FORMATS = {
    ".gz": "application/gzip",
    ".csv": "text/csv",
    ".json": "application/json",
    ".py": "text/x-python",
    ".cff": "text/yaml",
}
KEYWORDS = ("neural network verification", "explainability", "saliency", "VNN-LIB", "VNN-COMP")
_FIELDS = (
    ("name", "name", "Text", "name of the instance, and stem of its property"),
    ("onnx", "onnx", "Text", "file of the query network, named unzipped"),
    ("vnnlib", "vnnlib", "Text", "file of the property in VNN-LIB 1.0, named unzipped"),
    ("vnnlib2", "vnnlib2", "Text", "file of the property in VNN-LIB 2.0, named unzipped"),
    ("network", "network", "Text", "file of the classifier that is explained, named unzipped"),
    ("timeout", "timeout", "Float", "seconds a solver has"),
    ("family", "facts.family", "Text", "family of the query"),
    ("question", "facts.question.kind", "Text", "what is asked of the saliency map"),
    ("index", "facts.index", "Integer", "row of xhat in the test part of the data set"),
    ("label", "facts.label", "Integer", "class of xhat"),
    ("epsilon", "facts.epsilon", "Float", "radius of the box around xhat"),
    ("expected", "facts.expected", "Text", "known answer: sat, unsat or unknown"),
    ("evidence", "facts.evidence", "Text", "how the answer is known"),
)


def croissant(
    manifest: Manifest, census: Census, files: Mapping[str, bytes], rights: Rights, name: str
) -> str:
    """The metadata as JSON.

    Args:
        files: what is published, by relative path, but for the metadata itself and the checksums.
        name: of the published set.
    """
    own, stated = rights.licences, rights.publication
    licences = [*own, *sorted({rights.origin(d).licence for d in census.points} - {"", *own})]
    title = stated.title or manifest.title
    known = sum(number for kind, number in census.evidence.items() if kind != "unknown")
    described = (
        f"{title}. {manifest.description} {len(manifest.instances)} queries about the robustness of "
        f"saliency maps, {known} of them with a known answer, as ONNX with VNN-LIB 1.0 and 2.0. "
        "sat = falsified, unsat = verified."
    )
    said = {"url": stated.url, "datePublished": stated.date}
    said["sameAs"] = f"https://doi.org/{stated.doi}" if stated.doi else None
    note = f"salver {manifest.salver}, seed {manifest.seed}"
    text = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": " ".join(described.split()),
        "version": _version(manifest.version),
        "license": [f"https://spdx.org/licenses/{licence}.html" for licence in licences],
        **{key: value for key, value in said.items() if value is not None},
        **_creator(rights),
        "citeAs": citation(rights, title, name, note),
        "keywords": list(dict.fromkeys([*KEYWORDS, *stated.keywords])),
        "isLiveDataset": False,
        "distribution": [_file(path, files[path]) for path in sorted(files)],
        "recordSet": [_record_set()],
    }
    return json.dumps(text, indent=1, ensure_ascii=False) + "\n"


def _creator(rights: Rights) -> dict[str, Any]:
    if not rights.creators:
        return {}
    if rights.creator or not rights.publication.authors:
        return {"creator": {"@type": "sc:Organization", "name": rights.creators[0].name}}
    people: list[dict[str, Any]] = []
    for author in rights.creators:
        person: dict[str, Any] = {"@type": "sc:Person", "name": author.name}
        if author.orcid:
            person["identifier"] = f"https://orcid.org/{author.orcid}"
        if author.affiliation:
            person["affiliation"] = {"@type": "sc:Organization", "name": author.affiliation}
        people.append(person)
    return {"creator": people}


def _version(version: str) -> str:
    """Croissant asks for MAJOR.MINOR.PATCH."""
    parts = version.split(".")
    return ".".join((*parts, "0", "0")[:3]) if all(part.isdigit() for part in parts) else version


def _file(path: str, data: bytes) -> dict[str, Any]:
    suffix = path[path.rfind(".") :] if "." in path else ""
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{len(data)} B",
        "encodingFormat": _FORMATS.get(suffix, "text/markdown" if suffix == ".md" else "text/plain"),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _record_set() -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"instances/{key}",
            "name": f"instances/{key}",
            "description": meaning,
            "dataType": f"sc:{kind}",
            "source": {
                "fileObject": {"@id": "manifest.json"},
                "extract": {"jsonPath": f"$.instances[*].{path}"},
            },
        }
        for key, path, kind, meaning in _FIELDS
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "instances",
        "name": "instances",
        "description": "One record an instance, out of manifest.json.",
        "key": {"@id": "instances/name"},
        "field": fields,
    }
