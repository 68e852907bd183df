//! The settings: what administrators change, and what the log-in page needs to know.

use actix_web::{HttpResponse, web};
use common_http::{Body, CurrentUser, Path, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        origin::Origin,
        settings::{RegistrationRule, Settings},
        user::UserId,
    },
    error::{Error, Result},
    routes::v1::oauth::bodies::Button,
    service::{
        providers::Providers,
        settings::{Current, RuntimeSettings},
    },
    store::settings::SettingsVersion,
};

/// `PUT /api/v1/admin/config`: the version that was looked at, and what shall be otherwise. Missing and null members leave
/// things as they are; an empty text takes a name or a picture away.
#[derive(Deserialize)]
pub(crate) struct ChangeSettings {
    version: i64,
    registration: Option<RegistrationRule>,
    registration_domains: Option<Vec<String>>,
    user_sign_in: Option<bool>,
    password_sign_in: Option<bool>,
    password_min_length: Option<usize>,
    require_email_verification: Option<bool>,
    auto_link_accounts: Option<bool>,
    site_name: Option<String>,
    logo_url: Option<String>,
    mail_sender_name: Option<String>,
}

/// `POST /api/v1/admin/config/versions/{version}/activate`: the version that counts now, as it was looked at.
#[derive(Deserialize)]
pub(crate) struct ActivateVersion {
    version: i64,
}

#[derive(Serialize)]
struct SettingsBody<'a> {
    version: i64,
    settings: &'a Settings,
}

#[derive(Serialize)]
struct VersionBody<'a> {
    version: i64,
    settings: &'a Settings,
    created_at: Timestamp,
    created_by: String,
}

#[derive(Serialize)]
struct VersionList<'a> {
    versions: Vec<VersionBody<'a>>,
}

/// What anybody may know.
#[derive(Serialize)]
struct PublicSettings<'a> {
    site_name: &'a str,
    logo_url: Option<&'a str>,
    registration: RegistrationRule,
    registration_domains: &'a [String],
    user_sign_in: bool,
    password_sign_in: bool,
    password_min_length: usize,
    require_email_verification: bool,
    providers: Vec<Button<'a>>,
}

/// `GET /api/v1/auth/config`: for the log-in page.
pub(crate) async fn show_public_settings(
    settings: web::Data<RuntimeSettings>,
    providers: web::Data<Providers>,
) -> Result<HttpResponse> {
    let current = settings.current();
    let settings = &current.settings;
    let active = providers.list_active().await?;
    Ok(HttpResponse::Ok().json(PublicSettings {
        site_name: &settings.site_name,
        logo_url: settings.logo_url.as_deref(),
        registration: settings.registration,
        registration_domains: &settings.registration_domains,
        user_sign_in: settings.user_sign_in,
        password_sign_in: settings.password_sign_in,
        password_min_length: settings.password_min_length,
        require_email_verification: settings.require_email_verification,
        providers: active.iter().map(Button::from).collect(),
    }))
}

/// `GET /api/v1/admin/config`.
pub(crate) async fn show_settings(settings: web::Data<RuntimeSettings>) -> HttpResponse {
    shown(&settings.current())
}

/// `PUT` and `POST /api/v1/admin/config`.
pub(crate) async fn change_settings(
    admin: CurrentUser,
    Body(body): Body<ChangeSettings>,
    origin: Origin,
    settings: web::Data<RuntimeSettings>,
) -> Result<HttpResponse> {
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let seen = body.version;
    let changed = settings
        .change(seen, |settings| body.applied_to(settings), actor, &origin)
        .await?;
    Ok(shown(&changed))
}

/// `GET /api/v1/admin/config/versions`.
pub(crate) async fn list_setting_versions(settings: web::Data<RuntimeSettings>) -> Result<HttpResponse> {
    let versions = settings.list().await?;
    Ok(HttpResponse::Ok().json(VersionList {
        versions: versions.iter().map(version_body).collect(),
    }))
}

/// `POST /api/v1/admin/config/versions/{version}/activate`.
pub(crate) async fn activate_setting_version(
    admin: CurrentUser,
    Path(version): Path<i64>,
    Body(body): Body<ActivateVersion>,
    origin: Origin,
    settings: web::Data<RuntimeSettings>,
) -> Result<HttpResponse> {
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let restored = settings.restore(version, body.version, actor, &origin).await?;
    Ok(shown(&restored))
}

fn shown(current: &Current) -> HttpResponse {
    HttpResponse::Ok().json(SettingsBody {
        version: current.version,
        settings: &current.settings,
    })
}

fn version_body(version: &SettingsVersion) -> VersionBody<'_> {
    VersionBody {
        version: version.version,
        settings: &version.settings,
        created_at: version.at.into(),
        created_by: version.by.to_string(),
    }
}

impl ChangeSettings {
    /// `settings` with these changes.
    fn applied_to(self, settings: Settings) -> Settings {
        let kept_or_none = |given: Option<String>, kept: Option<String>| match given {
            Some(text) => Some(text).filter(|text| !text.is_empty()),
            None => kept,
        };
        Settings {
            registration: self.registration.unwrap_or(settings.registration),
            registration_domains: self.registration_domains.unwrap_or(settings.registration_domains),
            user_sign_in: self.user_sign_in.unwrap_or(settings.user_sign_in),
            password_sign_in: self.password_sign_in.unwrap_or(settings.password_sign_in),
            password_min_length: self.password_min_length.unwrap_or(settings.password_min_length),
            require_email_verification: self
                .require_email_verification
                .unwrap_or(settings.require_email_verification),
            auto_link_accounts: self.auto_link_accounts.unwrap_or(settings.auto_link_accounts),
            site_name: self.site_name.unwrap_or(settings.site_name),
            logo_url: kept_or_none(self.logo_url, settings.logo_url),
            mail_sender_name: kept_or_none(self.mail_sender_name, settings.mail_sender_name),
        }
    }
}
