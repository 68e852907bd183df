//! A table of people: which columns it has, and what a row of it means.

use std::collections::HashSet;

use common_jwt::Role;
use secrecy::SecretString;

use super::{
    csv,
    email::EmailAddress,
    password::NewPassword,
    user::{UserId, parse_role},
    username::Username,
};

/// Rows of one table.
pub const ROWS_MAX: u64 = 100_000;

/// Credits one row may give.
const CREDITS_MAX: u64 = 1_000_000_000;

/// Chatflows one row may give.
const CHATFLOWS_MAX: usize = 20;

/// Longer than any id of a chatflow.
const CHATFLOW_CHARS_MAX: usize = 100;

/// A name somebody is called by.
const FULL_NAME_CHARS_MAX: usize = 100;

/// What is repeated of a cell that was refused.
const ECHO_CHARS_MAX: usize = 254;

/// Header cells that are named again when nobody knows them.
const IGNORED_COLUMNS_MAX: usize = 20;

/// Separators, the likeliest first: what a spreadsheet writes depends on its language.
const SEPARATORS: [char; 3] = [';', ',', '\t'];

/// Words that stand for a role in tables of schools; they are stored as they are.
const SCHOOL_WORDS: [&str; 2] = ["teacher", "student"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Column {
    Action,
    Username,
    Email,
    Password,
    Role,
    FullName,
    Credits,
    Chatflows,
}

impl Column {
    /// Header cells are compared without case, space, hyphens and underscores.
    fn parse(text: &str) -> Option<Self> {
        let word: String = text
            .chars()
            .filter(|character| !matches!(character, ' ' | '-' | '_' | '\u{a0}'))
            .flat_map(char::to_lowercase)
            .collect();
        Some(match word.as_str() {
            "action" => Self::Action,
            "username" => Self::Username,
            "email" => Self::Email,
            "password" => Self::Password,
            "role" => Self::Role,
            "fullname" => Self::FullName,
            "credits" => Self::Credits,
            "chatflows" => Self::Chatflows,
            _ => return None,
        })
    }
}

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What stands between cells.
    pub separator: char,
    /// Columns nobody knows, which are not looked at.
    pub ignored: Vec<String>,
    columns: Vec<Option<Column>>,
}

/// A person to be made.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The name.
    pub username: Username,
    /// The address.
    pub email: EmailAddress,
    /// Their password; without one they are invited to choose it.
    pub password: Option<NewPassword>,
    /// What they may administer.
    pub role: Role,
    /// The role as it is stored.
    pub role_word: String,
    /// What people call them.
    pub full_name: Option<String>,
    /// What they are given.
    pub gift: Gift,
}

/// What the other services are to give somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gift {
    /// Credits.
    pub credits: u64,
    /// Ids of chatflows.
    pub chatflows: Vec<String>,
}

/// A row, and where it stands.
#[derive(Clone, Debug)]
pub struct Row {
    /// The line of the file, from 1; or the place in a list, from 1.
    pub line: u64,
    /// The name as typed.
    pub username: String,
    /// The address as typed.
    pub email: String,
    /// The person, or what is wrong.
    pub content: Result<Candidate, String>,
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowStatus {
    /// The account was made.
    Created,
    /// The account would be made: nothing was changed.
    Valid,
    /// There is an account of this address.
    Unchanged,
    /// Nothing was done; the message says why.
    Failed,
}

/// Whether the other services have what a person was to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// They have.
    HandedOver,
    /// They will; it is tried until it succeeds.
    Queued,
}

/// A row's outcome.
#[derive(Clone, Debug)]
pub struct RowResult {
    /// Where it stands.
    pub line: u64,
    /// The name as typed.
    pub username: String,
    /// The address as typed.
    pub email: String,
    /// What became of it.
    pub status: RowStatus,
    /// Why, in a sentence for people.
    pub message: Option<String>,
    /// Whose account it is.
    pub user_id: Option<UserId>,
    /// Whether they are sent an invitation.
    pub invited: bool,
    /// Their credits, where the row names some.
    pub credits: Option<HandOver>,
    /// Their chatflows, where the row names some.
    pub chatflows: Option<HandOver>,
}

impl Header {
    /// Reads the first line: the separator is the one that finds most columns we know.
    pub fn parse(line: &str) -> Result<Self, String> {
        let candidates = SEPARATORS.into_iter().filter_map(|separator| {
            let cells = csv::split(line, separator).ok()?;
            let known = cells.iter().filter(|cell| Column::parse(cell).is_some()).count();
            Some((known, separator, cells))
        });
        // The first of the best: `max_by_key` would take the last.
        let best = candidates.fold(None, |best: Option<(usize, char, Vec<String>)>, one| match best {
            Some(best) if best.0 >= one.0 => Some(best),
            _ => Some(one),
        });
        let Some((_, separator, cells)) = best else {
            return Err("the first line is not a header: a quote in it is not closed".to_owned());
        };
        let columns: Vec<_> = cells.iter().map(|cell| Column::parse(cell)).collect();
        let mut seen = HashSet::new();
        if let Some(twice) = columns.iter().flatten().find(|column| !seen.insert(**column)) {
            return Err(format!("the header has the column {twice:?} twice").to_lowercase());
        }
        for (column, name) in [(Column::Username, "username"), (Column::Email, "email")] {
            if !seen.contains(&column) {
                return Err(format!(
                    "the first line must be a header that names the column {name}"
                ));
            }
        }
        let unknown = cells.iter().zip(&columns).filter(|(_, column)| column.is_none());
        let unknown = unknown
            .map(|(cell, _)| shortened(cell))
            .filter(|cell| !cell.is_empty());
        Ok(Self {
            separator,
            ignored: unknown.take(IGNORED_COLUMNS_MAX).collect(),
            columns,
        })
    }

    /// Reads a row that stands at `line`. `None`: it is a remark, or empty.
    pub fn row(&self, line: u64, text: &str) -> Option<Row> {
        if is_remark(text) {
            return None;
        }
        let cells = match csv::split(text, self.separator) {
            Ok(cells) => cells,
            Err(broken) => return Some(Row::broken(line, broken)),
        };
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            return None;
        }
        let cell = |wanted: Column| {
            let place = self.columns.iter().position(|column| *column == Some(wanted))?;
            cells.get(place).map(|cell| csv::revealed(cell))
        };
        let typed = |wanted| cell(wanted).unwrap_or_default().trim();
        let raw = RawRow {
            username: typed(Column::Username),
            email: typed(Column::Email),
            // Space belongs to a password.
            password: cell(Column::Password).unwrap_or_default(),
            role: typed(Column::Role),
            full_name: typed(Column::FullName),
            credits: typed(Column::Credits),
            chatflows: typed(Column::Chatflows),
        };
        let too_many = cells.len() > self.columns.len()
            && cells
                .iter()
                .skip(self.columns.len())
                .any(|cell| !cell.trim().is_empty());
        let content = match typed(Column::Action).to_lowercase().as_str() {
            _ if too_many => Err("the row has more cells than the header: is a quote or a separator missing?".to_owned()),
            "" | "create" => raw.parse(),
            "delete" => Err(
                "rows that delete are not carried out here; delete the account with DELETE /api/admin/users/{id}".to_owned(),
            ),
            _ => Err("action: must be create".to_owned()),
        };
        Some(Row {
            line,
            username: shortened(raw.username),
            email: shortened(raw.email),
            content,
        })
    }
}

/// Whether a line is for people only.
pub fn is_remark(text: &str) -> bool {
    text.trim_start().starts_with('#')
}

/// The cells of a row that says create, as typed.
#[derive(Clone, Copy)]
pub struct RawRow<'c> {
    /// The name.
    pub username: &'c str,
    /// The address.
    pub email: &'c str,
    /// Empty: there is none.
    pub password: &'c str,
    /// Empty: `enduser`.
    pub role: &'c str,
    /// Empty: there is none.
    pub full_name: &'c str,
    /// Empty: none.
    pub credits: &'c str,
    /// Ids with `|` between them.
    pub chatflows: &'c str,
}

impl RawRow<'_> {
    /// The person, or everything that is wrong with the row. Nothing of a password is repeated.
    pub fn parse(&self) -> Result<Candidate, String> {
        let password = (!self.password.is_empty())
            .then(|| NewPassword::parse(SecretString::from(self.password), self.username))
            .transpose();
        let (username, email) = (Username::parse(self.username), EmailAddress::parse(self.email));
        let (role, full_name) = (read_role(self.role), read_full_name(self.full_name));
        let (credits, chatflows) = (read_credits(self.credits), read_chatflows(self.chatflows));
        match (username, email, password, role, full_name, credits, chatflows) {
            (
                Ok(username),
                Ok(email),
                Ok(password),
                Ok((role, role_word)),
                Ok(full_name),
                Ok(credits),
                Ok(chatflows),
            ) => Ok(Candidate {
                username,
                email,
                password,
                role,
                role_word,
                full_name,
                gift: Gift { credits, chatflows },
            }),
            (username, email, password, role, full_name, credits, chatflows) => {
                let mistakes = [
                    ("username", username.err()),
                    ("email", email.err()),
                    ("password", password.err()),
                    ("role", role.err()),
                    ("fullName", full_name.err()),
                    ("credits", credits.err()),
                    ("chatflows", chatflows.err()),
                ];
                let texts = mistakes
                    .into_iter()
                    .filter_map(|(field, mistake)| Some(format!("{field} {}", mistake?)));
                Err(texts.collect::<Vec<_>>().join("; "))
            }
        }
    }
}

impl Row {
    /// A row whose quotes do not fit.
    pub fn broken(line: u64, broken: csv::Broken) -> Self {
        let message = match broken {
            csv::Broken::Open => "a quote is opened in this row and not closed",
            csv::Broken::TextAfterQuote => "there is text between a closing quote and the next separator",
        };
        Self::unreadable(line, message)
    }

    /// A row that cannot be taken apart.
    pub fn unreadable(line: u64, message: &str) -> Self {
        Self {
            line,
            username: String::new(),
            email: String::new(),
            content: Err(message.to_owned()),
        }
    }

    /// The result of this row.
    pub fn result(&self, status: RowStatus, message: Option<String>) -> RowResult {
        RowResult {
            line: self.line,
            username: self.username.clone(),
            email: self.email.clone(),
            status,
            message,
            user_id: None,
            invited: false,
            credits: None,
            chatflows: None,
        }
    }

    /// The result of a row that failed.
    pub fn failed(&self, message: impl Into<String>) -> RowResult {
        self.result(RowStatus::Failed, Some(message.into()))
    }
}

impl RowStatus {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Valid => "valid",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}

impl HandOver {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HandedOver => "handed_over",
            Self::Queued => "queued",
        }
    }
}

impl Gift {
    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.credits == 0 && self.chatflows.is_empty()
    }
}

/// The role and the word to store. Admins are read here, to be refused where it is known whether they are new.
fn read_role(text: &str) -> Result<(Role, String), &'static str> {
    let word = text.to_lowercase();
    if word.is_empty() {
        return Ok((Role::EndUser, Role::EndUser.as_str().to_owned()));
    }
    if SCHOOL_WORDS.contains(&word.as_str()) {
        return Ok((Role::EndUser, word));
    }
    parse_role(&word)
        .map(|role| (role, role.as_str().to_owned()))
        .ok_or("must be teacher, student, enduser, user or supervisor")
}

fn read_full_name(text: &str) -> Result<Option<String>, &'static str> {
    if text.chars().count() > FULL_NAME_CHARS_MAX {
        return Err("must have at most 100 characters");
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters");
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn read_credits(text: &str) -> Result<u64, &'static str> {
    const MISTAKE: &str = "must be a whole number from 0 to 1000000000";
    if text.is_empty() {
        return Ok(0);
    }
    let is_number = text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    let credits = text
        .parse()
        .ok()
        .filter(|credits| is_number && *credits <= CREDITS_MAX);
    credits.ok_or(MISTAKE)
}

fn read_chatflows(text: &str) -> Result<Vec<String>, &'static str> {
    let mut chatflows: Vec<String> = Vec::new();
    for id in text.split('|').map(str::trim).filter(|id| !id.is_empty()) {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if id.len() > CHATFLOW_CHARS_MAX || !id.bytes().all(allowed) {
            return Err("must be ids of chatflows with | between them");
        }
        if !chatflows.iter().any(|known| known == id) {
            chatflows.push(id.to_owned());
        }
    }
    if chatflows.len() > CHATFLOWS_MAX {
        return Err("may name at most 20");
    }
    Ok(chatflows)
}

fn shortened(text: &str) -> String {
    text.trim().chars().take(ECHO_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(header: &str, text: &str) -> Row {
        Header::parse(header).unwrap().row(2, text).unwrap()
    }

    fn mistake(header: &str, text: &str) -> String {
        row(header, text).content.unwrap_err()
    }

    #[test]
    fn columns_are_found_in_any_order_case_and_separator() {
        for header in [
            "action,username,email,password,role,fullName,credits",
            "E-Mail;Full Name;USERNAME;Form",
            "email\tusername",
            "\"email\";\"username\"",
        ] {
            assert!(Header::parse(header).is_ok(), "{header}");
        }
        let header = Header::parse("email;username;Form;;Shoe, size").unwrap();
        assert_eq!(
            (header.separator, header.ignored),
            (';', vec!["Form".to_owned(), "Shoe, size".to_owned()])
        );
    }

    #[test]
    fn what_is_no_header_is_refused_with_the_reason() {
        for (header, part) in [
            ("", "names the column username"),
            ("mei,mei@example.com", "names the column username"),
            ("username;name", "names the column email"),
            ("username;email;E-Mail", "email twice"),
            ("\"username", "not closed"),
        ] {
            let mistake = Header::parse(header).unwrap_err();
            assert!(mistake.contains(part), "{header}: {mistake}");
        }
    }

    #[test]
    fn a_row_of_the_documented_table_is_read_whole() {
        let row = row(
            "action,username,email,password,role,fullName,credits,chatflows",
            r#"create,mei.lin,Mei.Lin@School.example,seven kites over it,student,"Lin, Mei",250,a1-b2|c3|a1-b2"#,
        );
        let person = row.content.unwrap();
        assert_eq!(person.email.as_str(), "mei.lin@school.example");
        assert_eq!(
            (person.role, person.role_word.as_str()),
            (Role::EndUser, "student")
        );
        assert_eq!(person.full_name.as_deref(), Some("Lin, Mei"));
        assert_eq!(
            (person.gift.credits, person.gift.chatflows),
            (250, vec!["a1-b2".to_owned(), "c3".to_owned()])
        );
        assert!(person.password.is_some());
    }

    #[test]
    fn remarks_and_empty_rows_are_no_rows() {
        let header = Header::parse("username,email").unwrap();
        for text in ["# a remark", "  #x,y", "", " , ", ",,"] {
            assert!(header.row(2, text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn everything_wrong_with_a_row_is_said_at_once_and_no_password() {
        let header = "username;email;password;role;credits;chatflows;fullName";
        let said = mistake(header, "a;b;hunter2;god;-5;x y;\u{7}");
        for part in [
            "username ",
            "email ",
            "password ",
            "role ",
            "credits ",
            "chatflows ",
            "fullName ",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("hunter2"));
        for credits in ["1.5", "+5", "1e3", "1000000001", "99999999999999999999", "٣"] {
            assert!(
                mistake("username;email;credits", &format!("ada;a@b.c;{credits}")).contains("whole number")
            );
        }
    }

    #[test]
    fn actions_other_than_create_are_not_carried_out() {
        assert!(mistake("action;username;email", "delete;ada;a@b.c").contains("DELETE /api/admin/users"));
        assert!(mistake("action;username;email", "drop;ada;a@b.c").contains("action"));
        assert!(row("action;username;email", " CREATE ;ada;a@b.c").content.is_ok());
    }

    #[test]
    fn cells_without_a_column_are_a_mistake_unless_they_are_empty() {
        assert!(mistake("username,email", "ada,a@b.c,x").contains("more cells"));
        assert!(row("username,email", "ada,a@b.c,, ").content.is_ok());
        assert!(mistake("username,email", "ada").contains("email is required"));
    }

    #[test]
    fn formulas_that_an_export_disarmed_are_read_as_they_were() {
        let person = row("username,email,fullName", "'+ada,a@b.c,'=1+1")
            .content
            .unwrap();
        assert_eq!(person.username.as_str(), "+ada");
        assert_eq!(person.full_name.as_deref(), Some("=1+1"));
    }
}
