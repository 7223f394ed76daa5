"""The part of the build that pyproject.toml cannot say: a wheel holds the suites, families and runners too.

They stay where people edit them, at the top of a checkout, and are copied into `salver/shipped/` of a wheel.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = {"benchmarks": "*.toml", "generators": "*.py", "runners": "*.*"}


class BuildWithShipped(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for folder, pattern in SHIPPED.items():
            target = Path(self.build_lib, "salver", "shipped", folder)
            self.mkpath(str(target))
            for path in sorted(Path(folder).glob(pattern)):
                self.copy_file(str(path), str(target / path.name))


setup(cmdclass={"build_py": BuildWithShipped})
