//! What is written down is true: variables, error codes, promises.

use std::{collections::BTreeSet, path::Path};

use common_config::Env;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Names of the variables in `.env.example`, commented out or not.
fn documented_variables() -> BTreeSet<String> {
    let lines = read(".env.example");
    let names = lines.lines().filter_map(|line| {
        line.trim_start_matches(['#', ' '])
            .split_once('=')
            .map(|(name, _)| name)
    });
    let is_name = |name: &&str| {
        name.bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    names.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn every_variable_that_a_service_reads_is_in_env_example() {
    let documented = documented_variables();
    let asked = |read: fn(&Env) -> bool| {
        let env = Env::default();
        read(&env);
        env.asked()
    };
    let services = [
        (
            "every service",
            asked(|env| common_telemetry::Export::from_env(env).is_ok()),
        ),
        (
            "auth-service",
            asked(|env| auth_service::Config::from_env(env).is_ok()),
        ),
        (
            "proxy-service",
            asked(|env| proxy_service::Config::from_env(env).is_ok()),
        ),
        (
            "accounting-service",
            asked(|env| accounting_service::Config::from_env(env).is_ok()),
        ),
    ];
    for (service, names) in services {
        assert!(
            names.len() > 10 || service == "every service",
            "{service} reads its whole configuration even when some of it is missing"
        );
        let missing: Vec<_> = names.difference(&documented).collect();
        assert!(
            missing.is_empty(),
            "{service} reads what .env.example does not list: {missing:?}"
        );
    }
}

/// Words between quotation marks that stand right behind `StatusCode::…, ` or a constructor of a problem; sentences are no
/// codes.
fn codes_in(source: &str) -> impl Iterator<Item = &str> {
    let constructors = ["Problem::new(", "Problem::unauthorized("];
    let statuses = source.split("StatusCode::").skip(1).filter_map(|rest| {
        let (status, rest) = rest.split_once(',')?;
        let is_status = status
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        is_status.then(|| rest.trim_start().strip_prefix('"')?.split('"').next())?
    });
    let problems = constructors.into_iter().flat_map(|start| {
        source
            .split(start)
            .skip(1)
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
    });
    let is_code = |text: &&str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    statuses.chain(problems).filter(is_code)
}

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("sources can be listed") {
        let path = entry.expect("a source").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(std::fs::read_to_string(path).expect("a source can be read"));
        }
    }
}

#[test]
fn every_error_code_is_documented() {
    let documented = read("proto-docs/errors.md");
    let mut found = Vec::new();
    for service in [
        "auth-service",
        "proxy-service",
        "accounting-service",
        "common-http",
    ] {
        sources(&root().join("crates").join(service).join("src"), &mut found);
    }
    let codes: BTreeSet<_> = found.iter().flat_map(|source| codes_in(source)).collect();
    assert!(codes.len() > 20, "codes are found in the sources: {codes:?}");
    let missing: Vec<_> = codes
        .iter()
        .filter(|code| !documented.contains(&format!("`{code}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "proto-docs/errors.md does not list {missing:?}"
    );
}

/// Tests that a page names as `path::name`, line by line.
fn named_tests(line: &str) -> Vec<(&str, &str)> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted.filter_map(|text| text.split_once(".rs::")).collect()
}

/// The attributes that stand on a function; `None` where there is no such function.
fn attributes_of(source: &str, name: &str) -> Option<Vec<String>> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let starts = [format!("fn {name}("), format!("async fn {name}(")];
    let at = lines
        .iter()
        .position(|line| starts.iter().any(|start| line.starts_with(start.as_str())))?;
    let above = lines[..at].iter().rev();
    let attributes = above.take_while(|line| line.starts_with("#[") || line.starts_with("///"));
    Some(attributes.map(|line| (*line).to_owned()).collect())
}

#[test]
fn every_promise_is_shown_by_tests_that_exist_and_run() {
    let page = read("proto-docs/promises.md");
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| what goes wrong"));
    let mut promises = 0;
    for row in rows {
        let tests = named_tests(row);
        assert!(!tests.is_empty(), "nothing shows that {row}");
        promises += 1;
        for (path, name) in tests {
            let attributes = attributes_of(&read(&format!("{path}.rs")), name);
            let attributes = attributes.unwrap_or_else(|| panic!("{path}.rs has no {name}"));
            assert!(
                attributes.iter().any(|attribute| attribute.contains("test")),
                "{path}.rs::{name} is no test: {attributes:?}"
            );
            let is_off = |attribute: &String| {
                ["ignore", "should_panic", "cfg"]
                    .iter()
                    .any(|word| attribute.contains(word))
            };
            assert!(
                !attributes.iter().any(is_off),
                "{path}.rs::{name} is not run: {attributes:?}"
            );
        }
    }
    assert!(promises > 60, "the tables are read: {promises}");
}
