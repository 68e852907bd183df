//! Credits that an administrator gives or takes: what the form says, and the key under which it is done once, however
//! often the form is sent.

use actix_web::http::StatusCode;
use common_http::{CurrentUser, FieldError};
use reqwest::Method;
use serde::de::IgnoredAny;
use serde_json::json;
use uuid::Uuid;

use crate::{
    error::{Error, Result, field_error},
    pages::{
        forms::Form,
        frame::Frame,
        neighbours::{Neighbour, Neighbours, Refusal},
    },
};

/// The member of a form that holds the key. It is made when the form is shown.
const KEY: &str = "idempotency_key";

/// Credits that accounting-service takes in one command.
pub(super) const CREDITS_MAX: u64 = 1_000_000_000_000;

/// Days that it lets credits last.
pub(super) const DAYS_MAX: u32 = 36_500;

/// Days that the form proposes.
pub(super) const DAYS_DEFAULT: u32 = 30;

const NOTES_CHARS_MAX: usize = 1_000;

/// What the form says.
#[derive(Clone, Debug)]
pub(super) struct Gift {
    pub(super) credits: u64,
    pub(super) expiry_days: u32,
    pub(super) notes: Option<String>,
    pub(super) key: Uuid,
}

/// Who did not do it, and why.
#[derive(Debug)]
pub(super) enum NotDone {
    /// The form does not say what it should.
    Ours(Error),
    /// accounting-service said no, or nothing.
    Theirs(Refusal),
    /// It was not even begun: what has to be known first was not told.
    Unread(Refusal),
}

impl From<Error> for NotDone {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<Refusal> for NotDone {
    fn from(refusal: Refusal) -> Self {
        Self::Theirs(refusal)
    }
}

impl NotDone {
    /// The frame of the page that is shown again, its status, and the key of its form. What may have been done keeps its
    /// key, so that sending the form again does not do it twice; anything else is a new try.
    pub(super) fn show(self, f: Frame, form: &Form) -> Result<(Frame, StatusCode, Uuid)> {
        let key = key_of(form).unwrap_or_else(|_error| Uuid::new_v4());
        let refusal = match self {
            Self::Ours(error) => {
                let (f, status) = f.refused(form, error)?;
                return Ok((f, status, key));
            }
            Self::Unread(refusal) => {
                let (f, status) = f.refused_by(form, refusal);
                return Ok((f, status, key));
            }
            Self::Theirs(refusal) => refusal,
        };
        let key = match &refusal {
            Refusal::Away => key,
            Refusal::Said(said) if said.code == "idempotency_in_progress" => key,
            Refusal::Said(_) => Uuid::new_v4(),
        };
        let is_unsure = matches!(refusal, Refusal::Away);
        let (mut f, status) = f.refused_by(form, refusal);
        if is_unsure {
            f.trouble = Some(f.t("credits.unsure").into_owned());
        }
        Ok((f, status, key))
    }
}

/// The key that the form was shown with.
pub(super) fn key_of(form: &Form) -> Result<Uuid> {
    Uuid::parse_str(form.text(KEY)).map_err(|_error| Error::invalid(KEY, "is required"))
}

impl Gift {
    /// Reads the form; everything wrong is said at once.
    pub(super) fn read(form: &Form) -> Result<Self> {
        let mut errors = Vec::new();
        let credits = credits_of(form, &mut errors);
        let expiry_days = match form.text("expiry_days").parse() {
            Ok(days) if (1..=DAYS_MAX).contains(&days) => days,
            _ => {
                errors.push(field_error("expiry_days", "days_out_of_range"));
                DAYS_DEFAULT
            }
        };
        let notes = notes_of(form, &mut errors);
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        Ok(Self {
            credits,
            expiry_days,
            notes,
            key: key_of(form)?,
        })
    }

    /// Gives it to somebody, once for each `key`.
    pub(super) async fn give(
        &self,
        neighbours: &Neighbours,
        admin: &CurrentUser,
        user_id: &str,
        key: &str,
    ) -> std::result::Result<(), Refusal> {
        let body = json!({
            "userId": user_id,
            "credits": self.credits,
            "expiryDays": self.expiry_days,
            "notes": self.notes,
        });
        let path = "/api/credits/allocate";
        neighbours
            .ask_once::<IgnoredAny>(Method::POST, Neighbour::Accounting, path, admin, Some(&body), key)
            .await
            .map(drop)
    }
}

/// How many, as the form says.
pub(super) fn credits_of(form: &Form, errors: &mut Vec<FieldError>) -> u64 {
    match form.text("credits").parse() {
        Ok(credits) if (1..=CREDITS_MAX).contains(&credits) => credits,
        _ => {
            errors.push(field_error("credits", "credits_out_of_range"));
            1
        }
    }
}

/// Why, as the form says.
pub(super) fn notes_of(form: &Form, errors: &mut Vec<FieldError>) -> Option<String> {
    let notes = form.given("notes")?;
    if notes.chars().count() > NOTES_CHARS_MAX || notes.chars().any(char::is_control) {
        errors.push(field_error("notes", "notes_too_long"));
    }
    Some(notes)
}
