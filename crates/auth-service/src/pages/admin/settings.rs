//! What administrators change while the service runs.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use common_http::CurrentUser;

use crate::{
    domain::{
        origin::Origin,
        settings::{RegistrationRule, Settings},
    },
    error::{Error, Result},
    pages::{
        door::see_other,
        forms::Form,
        frame::{Frame, id_of},
        times::Shown,
    },
    service::settings::RuntimeSettings,
    store::users::UserStore,
};

/// Versions that the page lists.
const VERSIONS: usize = 10;

#[derive(Template)]
#[template(path = "admin/settings.html")]
struct SettingsPage<'a> {
    f: &'a Frame,
    version: i64,
    settings: &'a Settings,
    rule: &'static str,
    domains: String,
    min_length: String,
    history: Vec<Version>,
}

/// A version that was.
struct Version {
    number: i64,
    at: Shown,
    by: String,
}

const RULES: [(&str, RegistrationRule); 5] = [
    ("open", RegistrationRule::Open),
    ("domain", RegistrationRule::Domain),
    ("invitation", RegistrationRule::Invitation),
    ("approval", RegistrationRule::Approval),
    ("closed", RegistrationRule::Closed),
];

/// `GET /admin/settings`.
pub(super) async fn show(
    f: Frame,
    settings: web::Data<RuntimeSettings>,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    settings_page(&f, StatusCode::OK, &settings, &users).await
}

async fn settings_page(
    f: &Frame,
    status: StatusCode,
    settings: &RuntimeSettings,
    users: &UserStore,
) -> Result<HttpResponse> {
    let current = settings.current();
    let mut versions = settings.list().await?;
    versions.sort_by_key(|version| std::cmp::Reverse(version.version));
    versions.truncate(VERSIONS);
    let people: Vec<_> = versions.iter().map(|version| version.by).collect();
    let names = users.list_names(&people).await?;
    let history = versions.iter().map(|version| Version {
        number: version.version,
        at: version.at.into(),
        by: names
            .get(&version.by)
            .cloned()
            .unwrap_or_else(|| version.by.to_string()),
    });
    let rule = RULES
        .iter()
        .find(|(_, rule)| *rule == current.settings.registration);
    let page = SettingsPage {
        f,
        version: current.version,
        settings: &current.settings,
        rule: rule.map_or("", |(word, _)| word),
        domains: current.settings.registration_domains.join(", "),
        min_length: current.settings.password_min_length.to_string(),
        history: history.collect(),
    };
    Ok(f.show_as(status, &page))
}

/// `POST /admin/settings`: what was looked at, as it shall be.
pub(super) async fn change(
    f: Frame,
    admin: CurrentUser,
    form: Form,
    origin: Origin,
    settings: web::Data<RuntimeSettings>,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    match try_change(&form, &admin, &origin, &settings).await {
        Ok(()) => Ok(see_other("/admin/settings?done=saved")),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            settings_page(&f, status, &settings, &users).await
        }
    }
}

async fn try_change(
    form: &Form,
    admin: &CurrentUser,
    origin: &Origin,
    settings: &RuntimeSettings,
) -> Result<()> {
    let seen = form.text("version").parse().or(Err(Error::SettingsChanged))?;
    let rule = RULES.iter().find(|(word, _)| *word == form.text("registration"));
    let (_, registration) = *rule.ok_or_else(|| Error::invalid("registration", "is required"))?;
    let min_length = form.text("password_min_length").parse();
    let min_length = min_length.or(Err(Error::invalid("password_min_length", "must be from 8 to 64")))?;
    let domains = form.text("registration_domains").split([',', ' ', '\n', '\r']);
    let domains = domains
        .map(str::trim)
        .filter(|domain| !domain.is_empty())
        .map(str::to_lowercase)
        .collect();
    let edit = |_| Settings {
        registration,
        registration_domains: domains,
        user_sign_in: form.is_on("user_sign_in"),
        password_sign_in: form.is_on("password_sign_in"),
        password_min_length: min_length,
        require_email_verification: form.is_on("require_email_verification"),
        auto_link_accounts: form.is_on("auto_link_accounts"),
        site_name: form.text("site_name").to_owned(),
        logo_url: form.given("logo_url"),
        mail_sender_name: form.given("mail_sender_name"),
    };
    settings.change(seen, edit, id_of(admin)?, origin).await.map(drop)
}
