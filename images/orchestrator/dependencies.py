"""Prints what envfarm needs to be built and to run, as pip wants it, so that an image can hold that without envfarm."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text())
needed = [*project["build-system"]["requires"], *project["project"]["optional-dependencies"]["server"]]
sys.stdout.write("\n".join(needed) + "\n")
