//! What is taken and what is refused.

use super::*;
use crate::domain::embed::RotatedKey;

fn embed() -> Embed {
    Embed {
        id: "site".to_owned(),
        name: "Site".to_owned(),
        owner_id: "0123456789abcdef01234567".to_owned(),
        allowed_origins: Vec::new(),
        backend: Backend::N8n(Webhook {
            url: "https://n8n.example/webhook/a".parse().unwrap(),
            api_key: Some("old".into()),
            shown_nodes: Vec::new(),
            previous_api_key: None,
        }),
        price: 1,
        limits: MessageLimits::default(),
        budget: Budget::default(),
        theme: BTreeMap::new(),
        texts: BTreeMap::new(),
        languages: vec!["en".to_owned()],
        requires_ticket: true,
        is_active: true,
        app_key: RotatedKey::default(),
        is_configured: false,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    }
}

fn apply(change: EmbedChange) -> Result<Embed, InvalidEmbed> {
    let n8n_origins = ["https://n8n.example", "http://n8n:5678"].map(|text| Origin::parse(text).unwrap());
    change.apply(
        &embed(),
        Circumstances {
            n8n_origins: &n8n_origins,
            key_overlap: TimeDelta::hours(24),
            now: DateTime::UNIX_EPOCH,
        },
    )
}

fn n8n(url: Option<&str>, key: Option<&str>) -> Result<Webhook, InvalidEmbed> {
    let change = EmbedChange {
        backend: Some(BackendChange::N8n {
            webhook_url: url.map(str::to_owned),
            api_key: key.map(SecretString::from),
            shown_nodes: None,
        }),
        ..EmbedChange::default()
    };
    apply(change).map(|embed| match embed.backend {
        Backend::N8n(webhook) => webhook,
        Backend::Flowise { .. } => panic!("it is n8n"),
    })
}

#[test]
fn only_servers_that_the_operator_named_are_asked() {
    assert!(n8n(Some("http://n8n:5678/webhook/b"), Some("key")).is_ok());
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:5678/webhook/a",
        "https://n8n.example:8443/x",
        "http://n8n.example/webhook/a",
        "https://user:pass@n8n.example/webhook/a",
        "file:///etc/passwd",
        "https://n8n.example.evil.example/",
        "gopher://n8n:5678/",
        "n8n",
    ] {
        let refused = n8n(Some(url), Some("key")).unwrap_err();
        assert_eq!(refused.field, "backend.webhook_url", "{url}");
    }
}

#[test]
fn a_key_goes_to_no_other_server_than_it_was_given_for() {
    let moved = n8n(Some("http://n8n:5678/webhook/a"), None).unwrap_err();
    assert_eq!(moved.field, "backend.api_key");
    let replaced = n8n(Some("http://n8n:5678/webhook/a"), Some("new")).unwrap();
    assert!(replaced.previous_api_key.is_none());
    let same_server = n8n(Some("https://n8n.example/webhook/b"), None).unwrap();
    assert_eq!(same_server.api_key.unwrap().expose_secret(), "old");
}

#[test]
fn a_replaced_key_is_tried_for_a_while_and_an_empty_one_takes_it_away() {
    let replaced = n8n(None, Some("new")).unwrap();
    let (previous, until) = replaced.previous_api_key.unwrap();
    assert_eq!(previous.expose_secret(), "old");
    assert_eq!(until, DateTime::UNIX_EPOCH + TimeDelta::hours(24));
    assert!(n8n(None, Some("")).unwrap().api_key.is_none());
    for bad in ["two words", "line\nbreak", "ключ"] {
        assert_eq!(n8n(None, Some(bad)).unwrap_err().field, "backend.api_key");
    }
}

#[test]
fn a_theme_has_plain_values_only() {
    let theme = |value: &str| {
        apply(EmbedChange {
            theme: Some([("primaryColor".to_owned(), value.to_owned())].into()),
            ..EmbedChange::default()
        })
    };
    for value in [
        "#667eea",
        "12px",
        "linear-gradient(135deg, #667eea 0%, #764ba2 100%)",
        "dark",
    ] {
        assert!(theme(value).is_ok(), "{value}");
    }
    for value in [
        "red;background:url(//evil)",
        "URL(//evil)",
        "}</style><script>",
        "\\75rl(x)",
        "a\u{7}",
    ] {
        assert!(theme(value).is_err(), "{value}");
    }
}

#[test]
fn each_member_is_checked() {
    let with = |fill: fn(&mut EmbedChange)| {
        let mut change = EmbedChange::default();
        fill(&mut change);
        apply(change).unwrap_err().field
    };
    assert_eq!(with(|change| change.name = Some("  ".to_owned())), "name");
    assert_eq!(
        with(|change| change.owner_id = Some("nobody".to_owned())),
        "owner_id"
    );
    assert_eq!(with(|change| change.price = Some(-1)), "price");
    assert_eq!(with(|change| change.languages = Some(Vec::new())), "languages");
    assert_eq!(
        with(|change| change.languages = Some(vec!["../x".to_owned()])),
        "languages.0"
    );
    assert_eq!(
        with(|change| change.allowed_origins = Some(vec!["https://a.example".to_owned(), "*".to_owned()])),
        "allowed_origins.1"
    );
    assert_eq!(
        with(|change| {
            change.budget = Some(BudgetChange {
                per_month: Some(Some(-1)),
                ..BudgetChange::default()
            });
        }),
        "budget.credits_per_month"
    );
    assert_eq!(
        with(|change| {
            change.limits = Some(LimitsChange {
                per_hour: Some(Some(0)),
                ..LimitsChange::default()
            });
        }),
        "limits.per_hour"
    );
    assert!(embed_id("school-1").is_ok());
    for bad in ["", "-a", "a-", "A", "a_b", "a/b", &"a".repeat(51)] {
        assert!(embed_id(bad).is_err(), "{bad}");
    }
}
