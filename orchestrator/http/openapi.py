"""The OpenAPI 3.1 document, and a page to read, both made from the route table."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from importlib.resources import files
from string import Template
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from envfarm import __version__
from envfarm.orchestrator.http.boundary import Route
from envfarm.orchestrator.schemas.episodes import ErrorView

OPENAPI: web.AppKey[bytes] = web.AppKey("openapi", bytes)
PAGE: web.AppKey[str] = web.AppKey("page", str)

_REF = "#/components/schemas/{model}"
_HEADERS = {
    "/v1/episodes": [
        ("Idempotency-Key", "sent again with the same body, the same episodes are answered"),
        ("X-Run-Id", "the run, where the body names none"),
    ],
    "/v1/episodes/{id}/fork": [("Idempotency-Key", "sent again with the same body, the same episodes are answered")],
    "/v1/events": [("Last-Event-ID", "id of the last event received")],
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The OpenAPI document of some routes."""
    routes = list(routes)
    names, schemas = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(plain_path(route.path), {})[route.method.lower()] = _operation(route, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "envfarm",
            "version": __version__,
            "description": "An environment farm for agentic reinforcement learning.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def page(doc: dict[str, Any]) -> str:
    """The document as one HTML page that loads nothing from elsewhere."""
    parts: list[str] = []
    for path, operations in doc["paths"].items():
        parts.extend(_section(method.upper(), path, operation) for method, operation in operations.items())
    parts.append("<h2>Models</h2>")
    for name, schema in doc["components"]["schemas"].items():
        text = html.escape(json.dumps(schema, indent=2))
        parts.append(f'<details id="{html.escape(name)}"><summary>{html.escape(name)}</summary><pre>')
        parts.append(re.sub(r"#/components/schemas/([\w-]+)", r'<a href="#\1">\1</a>', text) + "</pre></details>")
    template = files("envfarm.orchestrator.http").joinpath("docs.html").read_text(encoding="utf-8")
    return Template(template).substitute(version=html.escape(doc["info"]["version"]), body="\n".join(parts))


def plain_path(path: str) -> str:
    """A path without the patterns of its parts."""
    return re.sub(r"\{(\w+):[^}]*\}", r"{\1}", path)


def _schemas(routes: list[Route]) -> tuple[dict[Any, str], dict[str, Any]]:
    """The name of each model in `components`, and its schema."""
    wanted: dict[tuple[type[BaseModel], Any], None] = {(ErrorView, "serialization"): None}
    for route in routes:
        if route.body is not None:
            wanted[(route.body, "validation")] = None
        for answer in (route.answer, *(model for _, model in route.others)):
            if isinstance(answer, type):
                wanted[(answer, "serialization")] = None
    references, definitions = models_json_schema(list(wanted), ref_template=_REF)
    names = {key: reference["$ref"].rpartition("/")[2] for key, reference in references.items()}
    return names, definitions["$defs"]


def _operation(route: Route, names: dict[Any, str]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}",
        "summary": route.summary,
        "tags": [route.handler.__module__.rpartition(".")[2]],
        "parameters": _parameters(route),
        "responses": {str(route.status): _answer(route.answer, names)},
    }
    if route.answer is None:
        operation["responses"] = {"204": {"description": "done"}}
    for status, model in route.others:
        operation["responses"][str(status)] = _answer(model, names)
    operation["responses"]["default"] = {**_answer(ErrorView, names), "description": "an error"}
    if route.body is not None:
        schema = {"$ref": _REF.format(model=names[(route.body, "validation")])}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if not route.open:
        operation["security"] = [{"token": []}]
    return operation


def _answer(answer: type[BaseModel] | str | None, names: dict[Any, str]) -> dict[str, Any]:
    if isinstance(answer, type):
        schema = {"$ref": _REF.format(model=names[(answer, "serialization")])}
        what = (answer.__doc__ or "").strip().partition("\n")[0]
        return {"description": what or "the answer", "content": {"application/json": {"schema": schema}}}
    return {"description": "the answer", "content": {answer or "application/json": {}}}


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)[:}]", route.path)
    ]
    schema = route.query.model_json_schema()
    for name, field in schema.get("properties", {}).items():
        described = {key: value for key, value in field.items() if key not in ("description", "title")}
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": described}
        if "description" in field:
            parameter["description"] = field["description"]
        found.append(parameter)
    if route.method == "POST" or route.path == "/v1/events":
        for name, description in _HEADERS.get(route.path, ()):
            found.append({"name": name, "in": "header", "description": description, "schema": {"type": "string"}})
    return found


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(p['name'])}</code></td><td>{p['in']}</td>"
        f"<td>{html.escape(p.get('description', ''))}</td></tr>"
        for p in operation["parameters"]
    )
    answers = []
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        models = [_model(body.get("schema", {})) or html.escape(media) for media, body in content.items()]
        answers.append(f"<li><code>{status}</code> {', '.join(models)} {html.escape(response['description'])}</li>")
    sent = ""
    if "requestBody" in operation:
        sent = f"<p>Body: {_model(operation['requestBody']['content']['application/json']['schema'])}</p>"
    table = f"<table>{rows}</table>" if rows else ""
    return (
        f'<section id="{operation["operationId"]}"><h3><b>{method}</b> <code>{html.escape(path)}</code></h3>'
        f"<p>{html.escape(operation['summary'])}</p>{table}{sent}<ul>{''.join(answers)}</ul></section>"
    )


def _model(schema: dict[str, Any]) -> str:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return f'<a href="#{html.escape(name)}">{html.escape(name)}</a>' if name else ""
