"""What corpora and retrievers raise on purpose.

FarmError
├── BadRequest
│   └── CorpusError          a source, a corpus or an index that cannot be used; names the file and the fix
└── SearchUnavailable        a fault of the farm's search, never of the model
"""

from __future__ import annotations

from envfarm.toolbox.errors import BadRequest, FarmError


class CorpusError(BadRequest):
    """A source, a corpus or an index that cannot be used; the message names the file and the fix."""

    type = "corpus_error"
    status = 422


class SearchUnavailable(FarmError):
    """The farm's search cannot answer now."""

    status = 503
