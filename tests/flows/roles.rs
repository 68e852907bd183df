//! `proto-docs/roles.md` says of rights what the code says, and of every route of every service the right that it needs.

use std::path::Path;

use common_http::{Access, Row, rows};
use common_jwt::{Right, Role};

fn page() -> String {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto-docs/roles.md"));
    std::fs::read_to_string(path).expect("the page is there")
}

/// The cells of the table under this heading.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = page
        .split_once(&format!("{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading}"));
    let lines = section.lines().skip_while(|line| !line.starts_with('|'));
    let lines = lines.take_while(|line| line.starts_with('|')).skip(2);
    let cells = lines.map(|line| {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().replace('`', ""))
    });
    cells.map(Iterator::collect).collect()
}

/// Who is let in: the least role, and whether services are. Anybody is let in where there is neither to ask for.
fn who(access: Access) -> Option<(Option<Role>, bool)> {
    match access {
        Access::Public | Access::Optional => None,
        Access::User | Access::RestrictedUser => Some((Some(Role::EndUser), false)),
        Access::Supervisor => Some((Some(Role::Supervisor), false)),
        Access::Admin => Some((Some(Role::Admin), false)),
        Access::AdminOrService => Some((Some(Role::Admin), true)),
        Access::Service => Some((None, true)),
        Access::UserOrService => Some((Some(Role::EndUser), true)),
        Access::SupervisorOrService => Some((Some(Role::Supervisor), true)),
    }
}

/// Whether a line of the page, such as `/api/prices*` or `GET /api/prices`, is about a route.
fn fits(line: &str, route: &Row) -> bool {
    let method = route.method.as_str();
    let (named, pattern) = line.split_once(' ').unwrap_or((method, line));
    let path = &route.path;
    if named != method {
        return false;
    }
    match pattern.strip_suffix('*') {
        Some(beginning) => path.starts_with(beginning),
        None => *path == pattern,
    }
}

#[test]
fn the_table_of_rights_is_the_one_in_the_code() {
    let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let expected = Right::ALL.map(|right| {
        let mut row = vec![right.as_str().to_owned()];
        row.extend(Role::ALL.map(|role| yes_or_no(role.may(right))));
        row.push(yes_or_no(right.is_for_services()));
        row
    });
    let found: Vec<Vec<_>> = table(&page(), "## Rights")
        .into_iter()
        .map(|mut row| {
            assert!(!row.remove(1).is_empty(), "{row:?} says what it allows");
            row
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn every_route_needs_the_right_that_the_page_names() {
    let services: [(&str, Vec<Row>); 3] = [
        ("### auth-service", rows(auth_service::routes)),
        ("### proxy-service", rows(proxy_service::routes)),
        ("### accounting-service", rows(accounting_service::routes::routes)),
    ];
    let page = page();
    for (heading, routes) in services {
        let lines = table(&page, heading);
        let mut used = vec![false; lines.len()];
        for route in &routes {
            let name = format!("{heading} {} {}", route.method, route.path);
            let place = lines.iter().position(|line| fits(&line[0], route));
            let place = place.unwrap_or_else(|| panic!("roles.md has no line for {name}"));
            used[place] = true;
            let named = lines[place][1].as_str();
            let right = Right::ALL.into_iter().find(|right| right.as_str() == named);
            assert!(
                right.is_some() || named == "anybody",
                "{name}: there is no right {named}"
            );
            let expected = right.map(|right| (right.least_role(), right.is_for_services()));
            assert_eq!(who(route.access), expected, "{name} is said to need {named}");
        }
        for (line, is_used) in lines.iter().zip(used) {
            assert!(is_used, "{heading}: {line:?} fits no route");
        }
    }
}
