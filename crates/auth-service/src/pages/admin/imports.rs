//! A table of people: looked at first, then taken in, with what became of each row.

use std::io::{Seek as _, SeekFrom, Write as _};

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use common_http::CurrentUser;
use tokio::task::spawn_blocking;

use crate::{
    domain::{import::RowResult, origin::Origin},
    error::{Error, Result},
    pages::{
        forms::Form,
        frame::{Frame, id_of},
    },
    service::{
        bulk::OnBehalf,
        imports::{ImportOptions, Imports, Report, Summary},
    },
};

#[derive(Template)]
#[template(path = "admin/import.html")]
struct ImportPage<'a> {
    f: &'a Frame,
    table: &'a str,
    invite: bool,
    result: Option<Imported>,
}

/// What became of a table, or would.
struct Imported {
    rows: Vec<RowResult>,
    summary: Box<Summary>,
}

/// `GET /admin/import`.
pub(super) async fn show(f: Frame) -> HttpResponse {
    let page = ImportPage {
        f: &f,
        table: "",
        invite: true,
        result: None,
    };
    f.show(&page)
}

/// `POST /admin/import`: a preview, unless the button says otherwise.
pub(super) async fn import(
    f: Frame,
    admin: CurrentUser,
    form: Form,
    origin: Origin,
    imports: web::Data<Imports>,
) -> Result<HttpResponse> {
    let (table, invite) = (form.text("table"), form.is_on("invite"));
    match try_import(&form, &admin, origin, &imports).await {
        Ok(result) => {
            let result = Some(result);
            Ok(f.show(&ImportPage {
                f: &f,
                table,
                invite,
                result,
            }))
        }
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            let page = ImportPage {
                f: &f,
                table,
                invite,
                result: None,
            };
            Ok(f.show_as(
                if status == StatusCode::OK {
                    StatusCode::BAD_REQUEST
                } else {
                    status
                },
                &page,
            ))
        }
    }
}

async fn try_import(form: &Form, admin: &CurrentUser, origin: Origin, imports: &Imports) -> Result<Imported> {
    let table = form.required("table")?.to_owned();
    let turn = imports.take_turn()?;
    let file = spawn_blocking(move || {
        let mut file = tempfile::tempfile()?;
        file.write_all(table.as_bytes())?;
        file.seek(SeekFrom::Start(0))?;
        Ok::<_, std::io::Error>(file)
    });
    let prepared = imports.prepare(file.await??).await?;
    let options = ImportOptions {
        dry_run: form.text("step") != "apply",
        atomic: false,
        invite: form.is_on("invite"),
    };
    let behalf = OnBehalf {
        actor: Some(id_of(admin)?),
        origin: Some(origin),
    };
    let mut reports = imports.start(prepared, options, behalf, turn);
    let (mut rows, mut told) = (Vec::new(), None);
    // As many rows at most as a form's body can hold. Whoever is told has the turn back: the next import may begin.
    while let Some(report) = reports.recv().await {
        match report {
            Report::Rows(more) => rows.extend(more),
            Report::Summary(summary) => told = Some(summary),
        }
    }
    let summary = told.ok_or(Error::UnreadableBody)?;
    Ok(Imported { rows, summary })
}
