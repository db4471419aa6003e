"""What corpora and retrievers raise on purpose.

FarmError
├── BadRequest
│   └── CorpusError          a source, a corpus or an index that cannot be used; names the file and the fix
└── FarmFault
    └── SearchUnavailable    the farm's search cannot answer now

DocumentRefused (not a FarmError) is the answer to who asks for a document that cannot be had. It is an observation.
"""

from __future__ import annotations

from envfarm.toolbox.errors import BadRequest, FarmFault


class CorpusError(BadRequest):
    """A source, a corpus or an index that cannot be used; the message names the file and the fix."""

    type = "corpus_error"
    status = 422


class SearchUnavailable(FarmFault):
    """The farm's search cannot answer now."""


class DocumentRefused(Exception):
    """A document that cannot be had, though it may exist; the message is for the model."""
