//! Documents with versions: `/v1/config`.

use crate::access::{Caller, Intent, Role};
use crate::api::{Answer, Body, FieldProblem, Page, PageQuery, Path, Problem, Query, Stopped};
use crate::app::App;
use crate::config::{
    self, Accepted, Difference, DocumentBody, Edit, Expected, Kind, NewDocument, Proposal, Proposed,
    Rehearsal, Written, differences, models_named, propose, to_yaml,
};
use crate::link::LinkError;
use crate::live::Convergence;
use crate::store::{Version, VersionHead};
use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCEPT, ETAG};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use bus::Sha256Sum;
use bus::link::{FaultCode, LinkService, Taken};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list_config, post_config))
        .routes(routes!(get_config, put_config))
        .routes(routes!(get_schema))
        .routes(routes!(get_history))
        .routes(routes!(get_version))
        .routes(routes!(get_diff))
        .routes(routes!(rollback_config))
}

/// Asks only whether it could be.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the gate reads it; this describes it")]
pub(super) struct DryRun {
    /// Check, answer with the difference, and change nothing.
    dry_run: Option<bool>,
}

/// A document, its newest version, and how far that has come.
#[derive(Serialize, ToSchema)]
struct ConfigState {
    /// Which document.
    service: Kind,
    /// The newest version; 0 when there is none.
    version: u64,
    /// What the newest version says of itself; null when there is none.
    #[schema(required)]
    newest: Option<VersionHead>,
    /// How far it has come.
    convergence: Convergence,
}

/// All documents.
#[derive(Serialize, ToSchema)]
struct ConfigStates {
    /// One for each document that there can be.
    items: Vec<ConfigState>,
}

/// A version, whole.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "the description of what Version is written as")]
struct ConfigVersion {
    #[serde(flatten)]
    head: VersionHead,
    /// The document, without the fields of one process.
    #[schema(value_type = Object)]
    document: Value,
}

/// Several documents at once.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Several {
    /// By service. All of them are changed, or none.
    #[schema(value_type = BTreeMap<Kind, SeveralOne>)]
    documents: BTreeMap<Kind, SeveralOne>,
    /// Why.
    #[schema(max_length = 256)]
    reason: Option<String>,
}

/// One of several documents.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SeveralOne {
    /// The version that is changed; 0 for the first.
    base_version: u64,
    /// What it is to be.
    #[schema(value_type = Object)]
    document: Written,
}

/// What became of several documents.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "the description of an answer")]
struct SeveralAccepted {
    /// By service.
    documents: BTreeMap<String, Accepted>,
}

/// Back to an earlier version.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rollback {
    /// Whose content becomes the next version.
    #[schema(minimum = 1)]
    version: u64,
    /// Why. Demanded: here, in the query, or in the header.
    #[schema(min_length = 1, max_length = 256)]
    reason: Option<String>,
}

/// Which versions are compared.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DiffQuery {
    /// The earlier one; 0 for nothing.
    from: u64,
    /// The later one.
    #[param(minimum = 1)]
    to: u64,
}

/// How two versions differ.
#[derive(Serialize, ToSchema)]
struct Diff {
    /// The earlier one.
    from: u64,
    /// The later one.
    to: u64,
    /// What is different, by path.
    changes: Vec<Difference>,
}

fn etag(version: u64) -> [(HeaderName, String); 1] {
    [(ETAG, format!("\"{version}\""))]
}

/// All documents with their newest versions, and how far those have come.
#[utoipa::path(get, path = "/v1/config", operation_id = "list_config", tag = "config",
    responses((status = 200, body = ConfigStates)), extensions(("x-feedplane-role" = json!("viewer"))))]
async fn list_config(State(app): State<App>) -> Result<Json<ConfigStates>, Problem> {
    let mut items = Vec::new();
    for kind in Kind::ALL {
        let newest = app.store.newest_head(kind.service()).await?;
        items.push(ConfigState {
            service: kind,
            version: newest.as_ref().map_or(0, |head| head.version),
            newest,
            convergence: app.live.convergence(kind.service()),
        });
    }
    Ok(Json(ConfigStates { items }))
}

/// Changes several documents at once, all or none. Each needs the role that changing it alone does.
#[utoipa::path(post, path = "/v1/config", operation_id = "post_config", tag = "config", params(DryRun),
    request_body = Several, responses((status = 200, body = SeveralAccepted), (status = 412), (status = 507)),
    extensions(("x-feedplane-role" = json!("operator")),
        ("x-feedplane-role-by-service" = json!({"strategy": "risk", "gateway": "risk"}))))]
async fn post_config(
    State(app): State<App>,
    mut intent: Intent,
    Body(several): Body<Several>,
) -> Result<Answer, Stopped> {
    if several.documents.is_empty() {
        return Err(Problem::invalid("documents: is empty; name at least one").into());
    }
    if several.reason.is_some() {
        intent.demand_reason(several.reason.as_deref())?;
    }
    if let Some(kind) = several.documents.keys().find(|kind| kind.role() > intent.caller.role) {
        return Err(refused(*kind, &intent.caller).into());
    }
    let edits = several.documents.into_iter().map(|(kind, one)| Edit {
        kind,
        expected: Expected::Version(one.base_version),
        new: NewDocument::Whole(one.document.0),
    });
    proposed(&app, &intent, Proposal { edits: edits.collect(), several: true }).await
}

fn refused(kind: Kind, caller: &Caller) -> Problem {
    let (needed, has): (Role, Role) = (kind.role(), caller.role);
    Problem::forbidden(format!(
        "changing {kind} needs the role {needed}; the token {:?} is {has}",
        caller.name
    ))
}

/// Proposes, and has accepted versions distributed. After a dry run the data plane is asked, too.
pub(super) async fn proposed(app: &App, intent: &Intent, proposal: Proposal) -> Result<Answer, Stopped> {
    let several = proposal.several;
    let models = models_named(&app.store, &proposal).await?;
    let cards = app.live.lookups().model_cards(models).await;
    match propose(&app.store, intent, proposal, &cards).await? {
        Proposed::Made { answer, .. } => {
            app.live.changed();
            Ok(answer)
        }
        Proposed::Checked { mut accepted, different } => {
            let mut of_dataplane = different.iter().filter_map(|(kind, document)| {
                let service = LinkService::ALL.into_iter().find(|it| it.word() == kind.service())?;
                Some((*kind, service, document))
            });
            // Both at once it cannot be asked about: each would be held against what the other is now.
            if let (Some((kind, service, document)), None) = (of_dataplane.next(), of_dataplane.next()) {
                let said = rehearsed(app, service, document).await?;
                let of_kind = accepted.iter_mut().find(|one| one.head.service == kind.service());
                of_kind.into_iter().for_each(|one| one.rehearsal.clone_from(&said));
            }
            Ok(config::answer(accepted, several)?)
        }
    }
}

/// What the data plane says of a document that it is only to check; none when there is no data plane.
async fn rehearsed(app: &App, service: LinkService, document: &Value) -> Result<Option<Rehearsal>, Problem> {
    let Some(dataplane) = app.live.dataplane() else { return Ok(None) };
    let text = document.to_string();
    // A dry run keeps nothing: any number that a version can have does.
    let asked = dataplane.set_document(service, 1, Sha256Sum::of(text.as_bytes()), &text, true).await;
    match asked {
        Ok(Taken { restart_needed, notes, .. }) => {
            Ok(Some(Rehearsal { problem: None, restart_needed, notes }))
        }
        Err(LinkError::Refused(fault)) if fault.code == FaultCode::Invalid => {
            let problem = Problem::invalid(format!("the data plane would refuse it: {}", fault.message));
            let service = Some(service.word().to_owned());
            let errors = fault.errors.into_iter().map(FieldProblem::from);
            Err(problem.with_errors(errors.map(|error| FieldProblem { service: service.clone(), ..error })))
        }
        Err(error) => Ok(Some(Rehearsal { problem: Some(error.to_string()), ..Rehearsal::default() })),
    }
}

/// The newest version of a document. YAML with `Accept: application/yaml`.
#[utoipa::path(get, path = "/v1/config/{service}", operation_id = "get_config", tag = "config",
    params(("service" = Kind, Path, description = "The document.")),
    responses((status = 200, content((ConfigVersion = "application/json"), (String = "application/yaml")),
        headers(("ETag" = String, description = "The version, in quotes.")))),
    extensions(("x-feedplane-role" = json!("viewer"))))]
async fn get_config(
    State(app): State<App>,
    Path(kind): Path<Kind>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let newest = app.store.newest(kind.service()).await?;
    shown(newest.ok_or_else(|| Problem::not_found(format!("{kind} has no version yet")))?, &headers)
}

fn shown(version: Version, headers: &HeaderMap) -> Result<Response, Problem> {
    let tag = etag(version.head.version);
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepted.contains("yaml") {
        return Ok((tag, to_yaml(&version.document)).into_response());
    }
    Ok((tag, Json(version)).into_response())
}

/// Changes a document: the next version has this content.
#[utoipa::path(put, path = "/v1/config/{service}", operation_id = "put_config", tag = "config",
    params(("service" = Kind, Path, description = "The document."), DryRun),
    request_body(content((Value = "application/json"), (Value = "application/yaml"))),
    responses((status = 200, body = Accepted), (status = 201, body = Accepted), (status = 507)),
    extensions(("x-feedplane-role" = json!("operator")), ("x-feedplane-versioned" = json!(true)),
        ("x-feedplane-role-by-service" = json!({"strategy": "risk", "gateway": "risk"}))))]
async fn put_config(
    State(app): State<App>,
    Path(kind): Path<Kind>,
    intent: Intent,
    DocumentBody(document): DocumentBody,
) -> Result<Answer, Stopped> {
    let expected = Expected::Version(intent.demand_version()?);
    let edit = Edit { kind, expected, new: NewDocument::Whole(document) };
    proposed(&app, &intent, Proposal { edits: vec![edit], several: false }).await
}

/// The JSON Schema (draft 2020-12) of a document, made from its type, without the fields of one process.
#[utoipa::path(get, path = "/v1/config/{service}/schema", operation_id = "get_config_schema", tag = "config",
    params(("service" = Kind, Path, description = "The document.")),
    responses((status = 200, body = Object)), extensions(("x-feedplane-role" = json!("viewer"))))]
async fn get_schema(Path(kind): Path<Kind>) -> Json<&'static Value> {
    Json(kind.schema())
}

/// The versions of a document, newest first, without the documents.
#[utoipa::path(get, path = "/v1/config/{service}/history", operation_id = "get_config_history", tag = "config",
    params(("service" = Kind, Path, description = "The document."), PageQuery),
    responses((status = 200, body = Page<VersionHead>)), extensions(("x-feedplane-role" = json!("viewer"))))]
async fn get_history(
    State(app): State<App>,
    Path(kind): Path<Kind>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<VersionHead>>, Problem> {
    let limit = query.limit()?;
    let heads = app.store.history(kind.service(), query.cursor()?, limit + 1).await?;
    Ok(Json(Page::cut(heads, limit, |head| head.version.to_string())))
}

/// One version of a document, whole. YAML with `Accept: application/yaml`.
#[utoipa::path(get, path = "/v1/config/{service}/versions/{version}", operation_id = "get_config_version",
    tag = "config",
    params(("service" = Kind, Path, description = "The document."), ("version" = u64, Path, description = "Its number.")),
    responses((status = 200, content((ConfigVersion = "application/json"), (String = "application/yaml")))),
    extensions(("x-feedplane-role" = json!("viewer"))))]
async fn get_version(
    State(app): State<App>,
    Path((kind, version)): Path<(Kind, u64)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = app.store.version(kind.service(), version).await?;
    shown(found.ok_or_else(|| Problem::not_found(format!("{kind} has no version {version}")))?, &headers)
}

/// How two versions of a document differ.
#[utoipa::path(get, path = "/v1/config/{service}/diff", operation_id = "get_config_diff", tag = "config",
    params(("service" = Kind, Path, description = "The document."), DiffQuery),
    responses((status = 200, body = Diff)), extensions(("x-feedplane-role" = json!("viewer"))))]
async fn get_diff(
    State(app): State<App>,
    Path(kind): Path<Kind>,
    Query(query): Query<DiffQuery>,
) -> Result<Json<Diff>, Problem> {
    let mut documents = Vec::with_capacity(2);
    for version in [query.from, query.to] {
        let found = app.store.version(kind.service(), version).await?.map(|found| found.document);
        if found.is_none() && version != 0 {
            return Err(Problem::not_found(format!("{kind} has no version {version}")));
        }
        documents.push(found.unwrap_or(Value::Null));
    }
    let changes = differences(&documents[0], &documents[1]);
    Ok(Json(Diff { from: query.from, to: query.to, changes }))
}

/// Makes the content of an earlier version the next one.
#[utoipa::path(post, path = "/v1/config/{service}/rollback", operation_id = "rollback_config", tag = "config",
    params(("service" = Kind, Path, description = "The document."), DryRun), request_body = Rollback,
    responses((status = 200, body = Accepted), (status = 507)),
    extensions(("x-feedplane-role" = json!("operator")), ("x-feedplane-versioned" = json!(true)),
        ("x-feedplane-role-by-service" = json!({"strategy": "risk", "gateway": "risk"}))))]
async fn rollback_config(
    State(app): State<App>,
    Path(kind): Path<Kind>,
    mut intent: Intent,
    Body(rollback): Body<Rollback>,
) -> Result<Answer, Stopped> {
    intent.demand_reason(rollback.reason.as_deref())?;
    let expected = Expected::Version(intent.demand_version()?);
    let edit = Edit { kind, expected, new: NewDocument::Version(rollback.version) };
    proposed(&app, &intent, Proposal { edits: vec![edit], several: false }).await
}
