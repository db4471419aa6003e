"""The licence of a source tree, from its metadata or its licence file."""

from __future__ import annotations

from pathlib import Path

import pytest

from envfarm.tasks.factory.licences import licence

MIT = "The Adder Licence\n\nPermission is hereby granted, free of\ncharge, to any person\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"PKG-INFO": "Name: adder\nLicense-Expression: MIT\n\nLicense-Expression: no\n"}, "MIT"),
        ({"PKG-INFO": "Classifier: License :: OSI Approved :: BSD License\n"}, "BSD License"),
        ({"PKG-INFO": "License: UNKNOWN\n", "LICENSE": MIT}, "MIT"),
        ({"package.json": '{"license": "BSD-3-Clause"}'}, "BSD-3-Clause"),
        ({"Cargo.toml": '[package]\nlicense = "MIT OR Apache-2.0"\n'}, "MIT OR Apache-2.0"),
        ({"pyproject.toml": '[project]\nlicense = {text = "ISC"}\n'}, "ISC"),
        ({"pyproject.toml": "[project\n", "COPYING": "GNU General Public License\n"}, "GPL"),
        ({"go.mod": "module adder\n", "LICENSE.txt": MIT}, "MIT"),
        ({"README": "none"}, None),
    ],
)
def test_names_the_licence(tmp_path: Path, files: dict[str, str], expected: str | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert licence(tmp_path) == expected
