//! Credits that are granted by themselves.

use actix_web::{HttpResponse, web};
use common_http::{Body, Path};
use uuid::Uuid;

use super::{
    bodies::{RuleBody, RulesBody, WriteRule},
    request::OwnAccount,
};
use crate::{
    error::{Error, Result},
    service::Rules,
    store::RuleStore,
};

/// `GET /api/admin/credit-rules`: all of them, oldest first.
pub(super) async fn list_credit_rules(store: web::Data<RuleStore>) -> Result<HttpResponse> {
    let rules = store.list().await?;
    Ok(HttpResponse::Ok().json(RulesBody {
        rules: rules.into_iter().map(Into::into).collect(),
    }))
}

/// `GET /api/admin/credit-rules/{id}`.
pub(super) async fn show_credit_rule(id: Path<String>, store: web::Data<RuleStore>) -> Result<HttpResponse> {
    let rule = store.find(rule_id(&id)?).await?.ok_or(Error::RuleNotFound)?;
    Ok(HttpResponse::Ok().json(RuleBody::from(rule)))
}

/// `POST /api/admin/credit-rules`: a new rule.
pub(super) async fn create_credit_rule(
    admin: OwnAccount,
    body: Body<WriteRule>,
    rules: web::Data<Rules>,
) -> Result<HttpResponse> {
    let rule = rules.create(body.into_inner().terms()?, &admin.actor()).await?;
    Ok(HttpResponse::Created().json(RuleBody::from(rule)))
}

/// `PUT /api/admin/credit-rules/{id}`: the rule as it is to be from now on.
pub(super) async fn change_credit_rule(
    id: Path<String>,
    body: Body<WriteRule>,
    rules: web::Data<Rules>,
) -> Result<HttpResponse> {
    let rule = rules.change(rule_id(&id)?, body.into_inner().terms()?).await?;
    Ok(HttpResponse::Ok().json(RuleBody::from(rule)))
}

/// `DELETE /api/admin/credit-rules/{id}`: the rule ends; what it granted stays.
pub(super) async fn delete_credit_rule(id: Path<String>, rules: web::Data<Rules>) -> Result<HttpResponse> {
    rules.delete(rule_id(&id)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn rule_id(text: &str) -> Result<Uuid> {
    Uuid::try_parse(text).or(Err(Error::RuleNotFound))
}
