"""The instance families there are: files in generators/ and installed packages."""

from __future__ import annotations

from salver.core.plugins import FoundPlugins, find_plugins
from salver.core.project import folders_named
from salver.families.generator import Generator


def generators(warn: bool = True) -> FoundPlugins:
    """Every instance family by name; what does not load is told of on stderr unless `warn` is false."""
    return find_plugins(Generator, folders_named("generators"), "salver.generators", warn=warn)
