"""Prints what envfarm is built with and what it depends on, as pip wants it, so that a layer can hold them without envfarm."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text())
print(*project["build-system"]["requires"], *project["project"]["dependencies"], sep="\n")
