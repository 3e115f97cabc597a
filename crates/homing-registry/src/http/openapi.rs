//! The OpenAPI 3.1 document, made from the table of operations and the schemas of the types that are sent.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::App;
use super::operations::{Answer, Operation, Param};
use super::problem::{PROBLEM_JSON, Problem, Refusal};
use super::request::{Nothing, Params};

/// Collects named schemas.
#[derive(Default)]
pub(super) struct Components(Map<String, Value>);

/// How an operation names the type of a body.
pub(super) type SchemaOf = fn(&mut Components) -> Value;

/// A reference to `T`, whose schema (and those it needs) is collected.
pub(super) fn of<T: ToSchema + PartialSchema>(components: &mut Components) -> Value {
    let mut named: Vec<(String, RefOr<Schema>)> = vec![(T::name().into(), T::schema())];
    T::schemas(&mut named);
    for (name, schema) in named {
        let value = serde_json::to_value(schema).expect("schemas serialise");
        components.0.insert(name, value);
    }
    json!({"$ref": format!("#/components/schemas/{}", T::name())})
}

/// Text that has no schema.
pub(super) fn text(_: &mut Components) -> Value {
    json!({"type": "string"})
}

/// Bytes (OpenAPI 3.1 §4.8.14.3: no schema beyond the media type).
pub(super) fn bytes(_: &mut Components) -> Value {
    json!({"type": "string", "format": "binary"})
}

/// A JSON object of another specification.
pub(super) fn object(_: &mut Components) -> Value {
    json!({"type": "object"})
}

const ABOUT: &str = "Agents by the records they signed. Nothing is authorised by anything but a record's signature and sequence; every answer carries the signed record, so that you can verify it yourself. Unknown parameters and fields are refused.";

/// The whole document.
pub(super) fn document(operations: &[Operation], public_url: &str) -> Bytes {
    let mut components = Components::default();
    let problem = of::<Problem>(&mut components);
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let item = paths.entry(operation.path).or_insert_with(|| json!({}));
        let described = describe(operation, &problem, &mut components);
        if let Some(item) = item.as_object_mut() {
            item.insert(operation.method.as_str().to_lowercase(), described);
        }
    }
    let mut schemas: Vec<_> = components.0.into_iter().collect();
    schemas.sort_by(|a, b| a.0.cmp(&b.0));
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Homing registry",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": public_url}],
        "paths": paths,
        "components": {"schemas": Map::from_iter(schemas)},
    });
    let mut text = serde_json::to_vec_pretty(&document).expect("plain values serialise");
    text.push(b'\n');
    text.into()
}

fn describe(operation: &Operation, problem: &Value, components: &mut Components) -> Value {
    let mut out = Map::new();
    out.insert("operationId".into(), operation.id.into());
    out.insert("tags".into(), json!([operation.tag]));
    out.insert("summary".into(), operation.summary.into());
    if !operation.detail.is_empty() {
        out.insert("description".into(), operation.detail.into());
    }
    if !operation.params.is_empty() {
        out.insert("parameters".into(), operation.params.iter().map(parameter).collect());
    }
    if !operation.body.is_empty() {
        let content = operation.body.iter();
        let content = content.map(|(m, s)| ((*m).to_owned(), json!({"schema": s(components)})));
        let content: Map<String, Value> = content.collect();
        out.insert("requestBody".into(), json!({"required": true, "content": content}));
    }
    let mut responses: Vec<(u16, Value)> =
        operation.answers.iter().map(|a| (a.status, answer(a, components))).collect();
    responses.extend(operation.problems().into_iter().map(|status| {
        let content = json!({PROBLEM_JSON: {"schema": problem}});
        (status, json!({"description": reason(status), "content": content}))
    }));
    responses.sort_by_key(|(status, _)| *status);
    let responses = responses.into_iter().map(|(status, v)| (status.to_string(), v));
    out.insert("responses".into(), responses.collect::<Map<_, _>>().into());
    out.into()
}

fn parameter(param: &Param) -> Value {
    json!({
        "name": param.name,
        "in": param.place,
        "required": param.place == "path",
        "description": param.about,
        "schema": serde_json::from_str::<Value>(param.schema).expect("the table has JSON"),
    })
}

fn answer(answer: &Answer, components: &mut Components) -> Value {
    let content = answer.content.iter();
    let content = content.map(|(m, s)| ((*m).to_owned(), json!({"schema": s(components)})));
    let content: Map<String, Value> = content.collect();
    let mut out = Map::new();
    out.insert("description".into(), answer.about.into());
    if !answer.headers.is_empty() {
        let headers = answer.headers.iter().map(|(name, about)| {
            let header = json!({"description": about, "schema": {"type": "string"}});
            ((*name).to_owned(), header)
        });
        out.insert("headers".into(), headers.collect::<Map<_, _>>().into());
    }
    if !content.is_empty() {
        out.insert("content".into(), content.into());
    }
    out.into()
}

/// What a status means here.
fn reason(status: u16) -> &'static str {
    match status {
        400 => "The request makes no sense as written",
        404 => "Nothing of that key is known, or it has expired",
        406 => "None of the accepted media types is offered",
        408 => "The body did not arrive in time",
        409 => "Something newer is known, or several agents claim the name",
        410 => "The agent has withdrawn its record",
        413 => "The body is too large",
        415 => "The body has another media type",
        421 => "The registry does not answer to the host that the request names",
        422 => "A signature does not verify, or a signed object has expired",
        429 => "Too many requests or agents; see Retry-After",
        500 => "The registry failed",
        502 => "Another agent or server does not answer",
        503 => "The registry is busy; see Retry-After",
        504 => "The answer took too long",
        507 => "The registry's disk is full",
        _ => "Refused",
    }
}

/// `GET /openapi.json`.
pub(super) async fn read(State(app): State<App>, _: Params<Nothing>) -> Result<Response, Refusal> {
    let mut response = app.openapi.clone().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
