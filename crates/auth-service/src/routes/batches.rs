//! Many accounts in one request, as the documented scripts ask for them.

use actix_web::{HttpResponse, web};
use common_http::{Body, CurrentUser};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    domain::{
        import::{RawRow, Row, RowResult, RowStatus},
        origin::Origin,
        password::NewPassword,
        user::{UserId, parse_role},
    },
    error::{Error, Result},
    service::{
        accounts::Verification,
        bulk::{Bulk, OnBehalf, Seen, Treatment},
        settings::RuntimeSettings,
    },
};

/// People of one batch.
const USERS_MAX: usize = 1_000;

/// A batch is larger than an ordinary body.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// `POST /api/admin/users/batch`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateUsers {
    users: Vec<Value>,
    /// Only a literal `false` asks for a proof of the address.
    #[serde(default)]
    skip_verification: Value,
}

#[derive(Serialize)]
struct UsersCreated {
    message: String,
    results: Vec<CreatedBody>,
    summary: Counts,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreatedBody {
    username: String,
    email: String,
    success: bool,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
}

#[derive(Serialize)]
struct Counts {
    total: usize,
    successful: usize,
    failed: usize,
}

/// `POST /api/admin/users/batch`: people without a good password are invited to choose one; none is ever mailed.
pub(crate) async fn create_users(
    admin: CurrentUser,
    Body(body): Body<CreateUsers, BATCH_BYTES_MAX>,
    origin: Origin,
    bulk: web::Data<Bulk>,
    settings: web::Data<RuntimeSettings>,
) -> Result<HttpResponse> {
    if body.users.is_empty() || body.users.len() > USERS_MAX {
        return Err(Error::invalid("users", "must hold 1 to 1000 users"));
    }
    let rows = (1..)
        .zip(&body.users)
        .map(|(line, user)| read_row(line, user, &settings));
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let treatment = Treatment {
        dry_run: false,
        invite: true,
        verification: if body.skip_verification == Value::Bool(false) {
            Verification::Pending
        } else {
            Verification::Vouched
        },
    };
    let behalf = OnBehalf {
        actor: UserId::parse(&admin.id),
        origin: Some(origin),
    };
    let results = bulk
        .apply(&rows, treatment, &behalf, &mut Seen::default())
        .await?;
    Ok(HttpResponse::Created().json(UsersCreated::from(results)))
}

/// Reads one user. A row without name or address, or with a role there is not, spoils the batch; what else is wrong with
/// it is its own.
fn read_row(line: u64, user: &Value, settings: &RuntimeSettings) -> Result<Row> {
    let text = |member: &str| user[member].as_str().map(str::trim).unwrap_or_default();
    let spoilt = |message, wants_admin| Error::InvalidRow {
        message,
        row: json!({ "username": user["username"], "email": user["email"], "role": user["role"] }),
        wants_admin,
    };
    let (username, email) = (text("username"), text("email"));
    if username.is_empty() || email.is_empty() {
        return Err(spoilt("each user needs a username and an email", false));
    }
    let role = match &user["role"] {
        Value::Null => "",
        Value::String(role) => role,
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return Err(spoilt("the role must be supervisor, enduser or user", false));
        }
    };
    if role == "admin" {
        return Err(spoilt(
            "an admin cannot be created here; create the user, then change the role",
            true,
        ));
    }
    if !role.is_empty() && parse_role(role).is_none() {
        return Err(spoilt("the role must be supervisor, enduser or user", false));
    }
    let password = user["password"].as_str().unwrap_or_default();
    let is_good = NewPassword::parse(SecretString::from(password), username)
        .is_ok_and(|password| settings.accept_password(&password).is_ok());
    let raw = RawRow {
        username,
        email,
        password: if is_good { password } else { "" },
        role,
        full_name: text("fullName"),
        credits: "",
        chatflows: "",
    };
    Ok(Row {
        line,
        username: username.chars().take(ECHO_CHARS_MAX).collect(),
        email: email.chars().take(ECHO_CHARS_MAX).collect(),
        content: raw.parse(),
    })
}

/// What is repeated of a name or an address.
const ECHO_CHARS_MAX: usize = 254;

impl From<Vec<RowResult>> for UsersCreated {
    fn from(results: Vec<RowResult>) -> Self {
        let total = results.len();
        let results: Vec<_> = results.into_iter().map(CreatedBody::from).collect();
        let successful = results.iter().filter(|result| result.success).count();
        Self {
            message: format!("{successful} of {total} users created"),
            results,
            summary: Counts {
                total,
                successful,
                failed: total - successful,
            },
        }
    }
}

impl From<RowResult> for CreatedBody {
    fn from(result: RowResult) -> Self {
        let success = result.status == RowStatus::Created;
        let message = match result.status {
            RowStatus::Created if result.invited => {
                "User created; an invitation to choose a password is sent".to_owned()
            }
            RowStatus::Created | RowStatus::Valid => "User created successfully".to_owned(),
            RowStatus::Unchanged => Error::EmailTaken.to_string(),
            RowStatus::Failed => result.message.unwrap_or_default(),
        };
        Self {
            username: result.username,
            email: result.email,
            success,
            message,
            user_id: result.user_id.filter(|_| success).map(|id| id.to_string()),
        }
    }
}
