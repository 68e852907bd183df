//! Credits for a group, or for everybody: asked first how many people that is, then given, some hundred people at a time,
//! each under a key of their own, so that whatever is sent again gives nobody twice.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use common_http::CurrentUser;
use futures_util::{StreamExt as _, stream};
use uuid::Uuid;

use self::people::{Crowd, Member, Members};
use super::gift::{DAYS_DEFAULT, DAYS_MAX, Gift, NotDone};
use crate::{
    error::{Error, Result},
    pages::{
        chart::figure,
        forms::Form,
        frame::Frame,
        neighbours::{Neighbours, Refusal},
    },
    store::users::UserStore,
};

mod people;

/// People who are given credits by one request: the answer comes in a few seconds.
const BATCH: usize = 500;

/// Of whom so many at the same time.
const AT_ONCE: usize = 16;

#[derive(Template)]
#[template(path = "admin/credits_many.html")]
struct FormPage<'a> {
    f: &'a Frame,
    /// `None` where proxy-service is away.
    groups: Option<Vec<people::Group>>,
    key: Uuid,
    days_max: u32,
    days: String,
}

#[derive(Template)]
#[template(path = "admin/credits_confirm.html")]
struct ConfirmPage<'a> {
    f: &'a Frame,
    crowd: &'a Crowd,
    gift: &'a Gift,
    people: u64,
    total: String,
}

#[derive(Template)]
#[template(path = "admin/credits_given.html")]
struct GivenPage<'a> {
    f: &'a Frame,
    crowd: &'a Crowd,
    gift: &'a Gift,
    progress: Progress,
    results: Vec<Given>,
    /// Where to go on; `None` when everybody has been given.
    next: Option<String>,
    /// Whether it stopped before its time.
    is_stopped: bool,
}

/// How far it has come. The form carries it, to be shown; what is given does not depend on it.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    people: u64,
    given: u64,
    refused: u64,
}

/// What became of one person's credits.
struct Given {
    member: Member,
    /// Why they have none.
    refused: Option<String>,
}

/// What the handlers work with.
type Sources = (web::Data<UserStore>, web::Data<Neighbours>);

/// `GET /admin/credits/many`.
pub(super) async fn show(f: Frame, admin: CurrentUser, (_, neighbours): Sources) -> HttpResponse {
    form_page((f, StatusCode::OK, Uuid::new_v4()), &admin, &neighbours).await
}

async fn form_page(
    (f, status, key): (Frame, StatusCode, Uuid),
    admin: &CurrentUser,
    neighbours: &Neighbours,
) -> HttpResponse {
    let page = FormPage {
        f: &f,
        groups: people::groups(neighbours, admin).await,
        key,
        days_max: DAYS_MAX,
        days: DAYS_DEFAULT.to_string(),
    };
    f.show_as(status, &page)
}

/// `POST /admin/credits/many`: says how many people it is; gives when the button says so.
pub(super) async fn give(
    f: Frame,
    admin: CurrentUser,
    form: Form,
    (users, neighbours): Sources,
) -> Result<HttpResponse> {
    let members = Members {
        users: &users,
        neighbours: &neighbours,
        admin: &admin,
    };
    let read = async {
        let gift = Gift::read(&form)?;
        let crowd = members.crowd(form.text("whom")).await?;
        Ok((gift, crowd))
    };
    let (gift, crowd) = match read.await {
        Ok(read) => read,
        Err(not_done) => {
            let shown = NotDone::show(not_done, f, &form)?;
            return Ok(form_page(shown, &admin, &neighbours).await);
        }
    };
    if form.text("step") == "give" {
        return give_batch(f, &form, &members, &gift, &crowd).await;
    }
    match members.count(&crowd).await {
        Ok(people) => {
            let total = gift.credits.saturating_mul(people);
            Ok(f.show(&ConfirmPage {
                f: &f,
                crowd: &crowd,
                gift: &gift,
                people,
                total: figure(total),
            }))
        }
        Err(not_done) => {
            let shown = not_done.show(f, &form)?;
            Ok(form_page(shown, &admin, &neighbours).await)
        }
    }
}

async fn give_batch(
    f: Frame,
    form: &Form,
    members: &Members<'_>,
    gift: &Gift,
    crowd: &Crowd,
) -> Result<HttpResponse> {
    let mut progress = Progress::read(form);
    let place = form.given("place");
    let batch = match members.page(crowd, place.as_deref(), BATCH).await {
        Ok(batch) => batch,
        Err(NotDone::Theirs(_) | NotDone::Unread(_)) => {
            return Ok(stopped(f, gift, crowd, progress, place));
        }
        Err(NotDone::Ours(error)) => return Err(error),
    };
    let one = |member: Member| async move {
        let key = format!("{}:{}", gift.key, member.id);
        let given = gift.give(members.neighbours, members.admin, &member.id, &key);
        (given.await, member)
    };
    let mut answers = stream::iter(batch.members).map(one).buffer_unordered(AT_ONCE);
    let mut results = Vec::new();
    while let Some((answer, member)) = answers.next().await {
        let Ok(refused) = refused(&f, answer) else {
            // Whoever was given credits now is not given them again when the same people's turn comes anew.
            drop(answers);
            return Ok(stopped(f, gift, crowd, progress, place));
        };
        results.push(Given { member, refused });
    }
    drop(answers);
    results.sort_by(|one, other| one.member.name.cmp(&other.member.name));
    for result in &results {
        match result.refused {
            None => progress.given += 1,
            Some(_) => progress.refused += 1,
        }
    }
    Ok(f.show(&GivenPage {
        f: &f,
        crowd,
        gift,
        progress,
        results,
        next: batch.next,
        is_stopped: false,
    }))
}

/// Nothing more can be done now.
struct Stop;

/// Why accounting-service did not give somebody their credits; or that it gives nobody any.
fn refused(f: &Frame, answer: std::result::Result<(), Refusal>) -> std::result::Result<Option<String>, Stop> {
    match answer {
        Ok(()) => Ok(None),
        Err(Refusal::Said(said)) if matches!(said.status.as_u16(), 400 | 404 | 409 | 422) => {
            Ok(Some(f.said_of(&said.code, &said.detail)))
        }
        Err(Refusal::Away | Refusal::Said(_)) => Err(Stop),
    }
}

/// The page that says so, and leads on from the same place.
fn stopped(
    mut f: Frame,
    gift: &Gift,
    crowd: &Crowd,
    progress: Progress,
    place: Option<String>,
) -> HttpResponse {
    f.trouble = Some(f.t("credits.unsure").into_owned());
    let page = GivenPage {
        f: &f,
        crowd,
        gift,
        progress,
        results: Vec::new(),
        next: Some(place.unwrap_or_default()),
        is_stopped: true,
    };
    f.show_as(StatusCode::SERVICE_UNAVAILABLE, &page)
}

impl Progress {
    fn read(form: &Form) -> Self {
        let number = |name: &str| form.text(name).parse().unwrap_or(0);
        // Numbers that nobody has seen do not overflow here.
        let number = |name: &str| u64::from(Ord::min(number(name), u32::MAX));
        Self {
            people: number("people"),
            given: number("given"),
            refused: number("refused"),
        }
    }

    /// How much of it is done, of a thousand.
    fn share(self) -> u64 {
        crate::pages::chart::share(self.given + self.refused, self.people)
    }
}
