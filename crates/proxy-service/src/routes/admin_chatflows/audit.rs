//! Assignments that give nobody anything: found, and cleaned up.

use actix_web::{HttpResponse, web};
use bson::oid::ObjectId;
use common_http::{Access, Caller, OptionalBody, Query, Routes, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    routes::paging::present,
    service::audits::{Audit, Audits, CleanUp, CleanedUp, Invalid},
};

/// Chatflows one clean-up may name.
const CHATFLOWS_MAX: usize = 1_000;

/// `chatflows` is the path of the collection.
pub(super) fn table(routes: &mut Routes<'_>, chatflows: &str) {
    routes
        .get(
            &format!("{chatflows}/audit-users"),
            Access::Admin,
            audit_chatflow_users,
        )
        .post(
            &format!("{chatflows}/cleanup-users"),
            Access::Admin,
            clean_up_chatflow_users,
        );
}

#[derive(Deserialize)]
struct AuditUsers {
    chatflow_id: Option<String>,
}

#[derive(Deserialize)]
struct CleanUpUsers {
    #[serde(default)]
    action: Action,
    chatflow_ids: Option<Vec<String>>,
    #[serde(default = "yes")]
    dry_run: bool,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    DeleteInvalid,
    #[default]
    DeactivateInvalid,
}

const fn yes() -> bool {
    true
}

impl Default for CleanUpUsers {
    fn default() -> Self {
        Self {
            action: Action::default(),
            chatflow_ids: None,
            dry_run: true,
        }
    }
}

#[derive(Serialize)]
struct AuditBody {
    total_assignments: usize,
    total_assignments_checked: usize,
    valid_assignments: usize,
    invalid_assignments: usize,
    invalid_assignment_details: Vec<InvalidBody>,
    audit_timestamp: Timestamp,
}

#[derive(Serialize)]
struct CleanUpBody {
    total_records_processed: usize,
    records_deactivated: u64,
    records_deleted: u64,
    errors: [String; 0],
    dry_run: bool,
    cleanup_timestamp: Timestamp,
    invalid_assignments_found: Vec<InvalidBody>,
}

#[derive(Serialize)]
struct InvalidBody {
    user_chatflow_id: String,
    external_user_id: String,
    chatflow_id: String,
    chatflow_name: Option<String>,
    issue_type: &'static str,
    details: &'static str,
}

/// `GET /api/v1/admin/chatflows/audit-users?chatflow_id=`.
async fn audit_chatflow_users(
    admin: Caller,
    query: Query<AuditUsers>,
    audits: web::Data<Audits>,
) -> Result<HttpResponse> {
    let one = present(query.chatflow_id.as_deref()).map(|id| vec![id.to_owned()]);
    let audit = audits.audit(&admin, one.as_deref()).await?;
    Ok(HttpResponse::Ok().json(AuditBody::from(audit)))
}

/// `POST /api/v1/admin/chatflows/cleanup-users`: a rehearsal unless `dry_run` is false.
async fn clean_up_chatflow_users(
    admin: Caller,
    OptionalBody(body): OptionalBody<CleanUpUsers>,
    audits: web::Data<Audits>,
) -> Result<HttpResponse> {
    let named = body.chatflow_ids.as_deref();
    if named.is_some_and(|ids| ids.len() > CHATFLOWS_MAX) {
        let message = format!("may have at most {CHATFLOWS_MAX} ids");
        return Err(Error::invalid("chatflow_ids", message));
    }
    let action = match body.action {
        Action::DeleteInvalid => CleanUp::Delete,
        Action::DeactivateInvalid => CleanUp::Deactivate,
    };
    let done = audits.clean_up(&admin, named, action, body.dry_run).await?;
    Ok(HttpResponse::Ok().json(CleanUpBody::new(done, body.dry_run)))
}

impl From<Audit> for AuditBody {
    fn from(audit: Audit) -> Self {
        Self {
            total_assignments: audit.checked,
            total_assignments_checked: audit.checked,
            valid_assignments: audit.checked - audit.invalid,
            invalid_assignments: audit.invalid,
            invalid_assignment_details: audit.details.into_iter().map(InvalidBody::from).collect(),
            audit_timestamp: Timestamp(audit.at),
        }
    }
}

impl CleanUpBody {
    fn new(done: CleanedUp, dry_run: bool) -> Self {
        let audit = done.audit;
        Self {
            total_records_processed: audit.checked,
            records_deactivated: done.deactivated,
            records_deleted: done.deleted,
            errors: [],
            dry_run,
            cleanup_timestamp: Timestamp(audit.at),
            invalid_assignments_found: audit.details.into_iter().map(InvalidBody::from).collect(),
        }
    }
}

impl From<Invalid> for InvalidBody {
    fn from(invalid: Invalid) -> Self {
        let id = &invalid.assignment.id;
        Self {
            user_chatflow_id: id.as_object_id().map_or_else(|| id.to_string(), ObjectId::to_hex),
            external_user_id: invalid.assignment.external_user_id,
            chatflow_id: invalid.assignment.chatflow_id,
            chatflow_name: invalid.chatflow_name,
            issue_type: invalid.issue.as_str(),
            details: invalid.issue.details(),
        }
    }
}
