//! The chat widget: the script that sites embed, the page in its frame, what that page loads, and a page to try it on.
//!
//! The page runs scripts of ours only, by address (`script-src 'self'`) and never inline: there is nothing inline whose
//! hash would have to be kept right, all of it can be cached, and nothing that gets into the page can run. Only pages of the
//! embed's allowed origins may frame it (`frame-ancestors`), and only scripts of ours can read the ticket that begins a
//! session.

mod config_body;
mod files;
mod options;
mod texts;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError as _,
    http::{
        StatusCode,
        header::{self, HeaderName},
    },
    web,
};
use common_http::{Access, Clock, Path, Problem, Routes};
use serde_json::json;
use url::Url;

use self::{
    config_body::Dressed,
    files::WidgetFiles,
    options::{Options, public_origin, referer, text},
};
use crate::{
    domain::{
        embed::{DEFAULT_ID, Embed},
        origin::Origin,
        page_ticket::PageTickets,
    },
    error::{Error, Result},
    service::embeds::Embeds,
};

/// What the chat page may do, but for who may frame it. Text becomes markup nowhere, which the browser enforces.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The same for the demo page, which shows the chat in a frame, and is in none.
const DEMO_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
     frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'";

/// The page's requests carry its whole address to us, and to nobody else more than our origin.
const REFERRER_POLICY: (&str, &str) = ("referrer-policy", "strict-origin-when-cross-origin");

/// Sites load the script and the page although they are not ours.
const FOR_ALL_SITES: (&str, &str) = ("cross-origin-resource-policy", "cross-origin");

/// How long a site's visitors may use the script before they ask whether it has changed.
const SCRIPT_KEPT: &str = "public, max-age=300";

/// This resource's rows.
pub(crate) fn table(routes: &mut Routes<'_>) {
    routes
        // The documented address of the script, and the one under which it was installed.
        .get("/widget/embed.js", Access::Public, show_embed_script)
        .get("/widget/public/embed.js", Access::Public, show_embed_script)
        // The documented address of the page, and a short one.
        .get("/widget/modern-widget.html", Access::Public, show_chat_page)
        .get("/widget/chat", Access::Public, show_chat_page)
        .get("/widget/widget-config.json", Access::Public, show_widget_config)
        .get("/widget/demo", Access::Public, show_demo_page)
        .get(
            "/widget/assets/{version}/{name}",
            Access::Public,
            show_widget_file,
        );
}

/// What the pages are made of.
#[derive(Clone)]
pub(crate) struct WidgetPages {
    files: web::Data<WidgetFiles>,
    public_url: web::Data<PublicUrl>,
}

/// Where the operator says that we are, if they say.
struct PublicUrl(Option<Url>);

impl WidgetPages {
    /// Pages that are found at this address, where it is known.
    pub(crate) fn new(public_url: Option<Url>) -> Self {
        Self {
            files: web::Data::new(WidgetFiles::new()),
            public_url: web::Data::new(PublicUrl(public_url)),
        }
    }

    /// Gives an application what the handlers here take, beside embeds and page tickets.
    pub(crate) fn register(&self, app: &mut web::ServiceConfig) {
        app.app_data(self.files.clone()).app_data(self.public_url.clone());
    }
}

/// `GET /widget/embed.js`: the script, with what the owner of the embed in its address has set.
#[tracing::instrument(skip_all)]
async fn show_embed_script(request: HttpRequest, embeds: web::Data<Embeds>) -> Result<HttpResponse> {
    let options = Options::of(&request, None);
    let embed = match embeds.open(options.embed.as_deref()).await {
        Ok(embed) => Some(embed),
        // The tag may name its embed in an attribute, which we do not see.
        Err(Error::EmbedNotFound) if options.embed.is_none() => None,
        Err(error) => return Err(error),
    };
    let served = json!({
        "texts": Dressed::launcher_texts(embed.as_deref()),
        "settings": embed.as_deref().map(Dressed::launcher_settings),
    });
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CACHE_CONTROL, SCRIPT_KEPT))
        .insert_header(FOR_ALL_SITES);
    Ok(WidgetFiles::embed_script(&served).answer(&request, response))
}

/// `GET /widget/modern-widget.html`: the chat page, for the frames of allowed pages and for windows of its own.
#[tracing::instrument(skip_all)]
async fn show_chat_page(
    request: HttpRequest,
    files: web::Data<WidgetFiles>,
    embeds: web::Data<Embeds>,
    public_url: web::Data<PublicUrl>,
) -> Result<HttpResponse> {
    let own = public_origin(&request, public_url.0.as_ref());
    let embed = embeds.open(Options::of(&request, None).embed.as_deref()).await?;
    if is_foreign_frame(&request, &embed, own.as_ref()) {
        return Err(Error::OriginRefused);
    }
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, framed_by(&embed)))
        .insert_header(REFERRER_POLICY)
        .insert_header(FOR_ALL_SITES);
    Ok(files.page().answer(&request, response))
}

/// `GET /widget/widget-config.json`: what the page needs to know, with a ticket that begins one session.
#[tracing::instrument(skip_all)]
async fn show_widget_config(
    request: HttpRequest,
    embeds: web::Data<Embeds>,
    tickets: web::Data<PageTickets>,
    public_url: web::Data<PublicUrl>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let own = public_origin(&request, public_url.0.as_ref());
    let options = Options::of(&request, own.as_ref());
    let embed = embeds.open(options.embed.as_deref()).await?;
    let ticket = if is_our_page(&request) {
        let parent = parent_of(&options, &embed, own.as_ref())?;
        let ticket = tickets.mint(&embed.id, parent.as_ref(), clock.now());
        ticket
            .inspect_err(|error| tracing::error!(%error, "a page ticket could not be signed"))
            .ok()
    } else {
        None
    };
    let accepted = text(&request, &header::ACCEPT_LANGUAGE).unwrap_or_default();
    let base_url = own.as_ref().map_or("", Origin::as_str);
    let body = Dressed::new(&embed, &options, accepted).body(base_url, ticket.as_deref());
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::VARY, "Referer, Accept-Language"))
        .json(body))
}

/// `GET /widget/assets/{version}/{name}`: a script or style sheet of the pages.
async fn show_widget_file(
    request: HttpRequest,
    path: Path<(String, String)>,
    files: web::Data<WidgetFiles>,
) -> HttpResponse {
    let (version, name) = &*path;
    let Some((file, kept)) = files.part(version, name) else {
        return nothing_here().error_response();
    };
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, kept));
    file.answer(&request, response)
}

/// As for every address that there is not.
fn nothing_here() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this address",
    )
}

/// `GET /widget/demo`: the widget on a page of ours, and how to put it on others.
#[tracing::instrument(skip_all)]
async fn show_demo_page(
    request: HttpRequest,
    files: web::Data<WidgetFiles>,
    embeds: web::Data<Embeds>,
    public_url: web::Data<PublicUrl>,
) -> Result<HttpResponse> {
    let asked = Options::of(&request, None).embed;
    let embed = match embeds.open(asked.as_deref()).await {
        Ok(embed) => Some(embed),
        Err(Error::EmbedNotFound) => None,
        Err(error) => return Err(error),
    };
    let id = asked.as_deref().unwrap_or(DEFAULT_ID);
    let own = public_origin(&request, public_url.0.as_ref());
    let words = [
        ("{{origin}}", own.as_ref().map_or("", Origin::as_str)),
        (
            "{{embed}}",
            embed.as_deref().map_or(id, |embed| embed.id.as_str()),
        ),
        (
            "{{name}}",
            embed.as_deref().map_or(id, |embed| embed.name.as_str()),
        ),
        ("{{missing}}", if embed.is_some() { "" } else { MISSING }),
    ];
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, DEMO_POLICY))
        .insert_header(REFERRER_POLICY);
    Ok(files.demo(&words).answer(&request, response))
}

/// What the demo page says where there is nothing to show.
const MISSING: &str = "There is no such embed yet. An administrator makes one at /api/v1/embeds, or the operator describes \
     the default one with N8N_WEBHOOK_URL or WIDGET_CHATFLOW_ID.";

/// The page's policy with the pages that may frame it: the embed's, and our own demo.
fn framed_by(embed: &Embed) -> String {
    let allowed: Vec<_> = embed.allowed_origins.iter().map(ToString::to_string).collect();
    format!("{PAGE_POLICY}; frame-ancestors 'self' {}", allowed.join(" "))
}

/// Whether another page frames ours that may not. The browser would not show it either; but it need not even get it.
fn is_foreign_frame(request: &HttpRequest, embed: &Embed, own: Option<&Origin>) -> bool {
    let destination = text(request, &HeaderName::from_static("sec-fetch-dest"));
    let is_frame = destination.is_some_and(|to| ["iframe", "frame", "embed", "object"].contains(&to));
    let parent = referer(request).and_then(|referer| Origin::of(&referer).ok());
    is_frame && parent.is_some_and(|parent| Some(&parent) != own && !embed.allows(&parent))
}

/// Whether a page of ours asks. Foreign pages could not read the answer, but they need not get a ticket.
fn is_our_page(request: &HttpRequest) -> bool {
    let site = text(request, &HeaderName::from_static("sec-fetch-site"));
    let mode = text(request, &HeaderName::from_static("sec-fetch-mode"));
    match site {
        Some(site) => site == "same-origin" && mode != Some("navigate"),
        // Browsers tell it over plain HTTP to this machine only; then the page's address has to do.
        None => text(request, &header::ORIGIN).is_none(),
    }
}

/// The page around ours, where it is another site's. Ours is the only one that says so, and an allowed one the only one that
/// the browser lets frame it.
fn parent_of(options: &Options, embed: &Embed, own: Option<&Origin>) -> Result<Option<Origin>> {
    let Some(parent) = &options.parent else {
        return Ok(None);
    };
    let parent = Origin::parse(parent).or(Err(Error::OriginRefused))?;
    if Some(&parent) == own {
        Ok(None)
    } else if embed.allows(&parent) {
        Ok(Some(parent))
    } else {
        Err(Error::OriginRefused)
    }
}
