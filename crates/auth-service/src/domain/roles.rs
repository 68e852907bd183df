//! Roles as other tools write them, and what they read as here.

use std::{collections::BTreeMap, str::FromStr};

use common_jwt::Role;

/// Words that mean a role by themselves; `user` is an older name of `enduser`.
const KNOWN: [&str; 4] = ["admin", "supervisor", "enduser", "user"];

/// More words than a deployment has kinds of people.
const WORDS_MAX: usize = 100;

/// Which role a stored word means: the CSV tools write `teacher` and `student` straight into the database. A word that
/// nothing is said about grants nothing and reads as `enduser`. No word but `admin` makes an admin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleMap(BTreeMap<String, Role>);

impl RoleMap {
    /// The role that `stored` means.
    pub fn read(&self, stored: &str) -> Role {
        let by_itself = || match stored.parse() {
            Ok(role) => role,
            Err(never) => match never {},
        };
        self.0.get(stored).copied().unwrap_or_else(by_itself)
    }

    /// Those of the words found in the database that read as `role`, for a query that asks for it.
    pub fn stored_words<'w>(&self, role: Role, found: impl IntoIterator<Item = &'w str>) -> Vec<&'w str> {
        found.into_iter().filter(|word| self.read(word) == role).collect()
    }
}

/// `teacher:supervisor,student:enduser`.
impl FromStr for RoleMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (word, role) = pair
                .split_once(':')
                .ok_or_else(|| format!("`{pair}` is not word:role"))?;
            let (word, role) = (word.trim(), role.trim());
            if word.is_empty() || KNOWN.contains(&word) {
                return Err(format!("`{word}` has a meaning of its own"));
            }
            let role = match role {
                "supervisor" => Role::Supervisor,
                "enduser" | "user" => Role::EndUser,
                "admin" => {
                    return Err("no word may be mapped to admin: whoever writes it would be one".to_owned());
                }
                other => return Err(format!("`{other}` is not supervisor or enduser")),
            };
            if words.insert(word.to_owned(), role).is_some() {
                return Err(format!("`{word}` stands there twice"));
            }
        }
        if words.len() > WORDS_MAX {
            return Err(format!("there are more than {WORDS_MAX} words"));
        }
        Ok(Self(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words_grant_nothing_and_mapped_ones_what_the_map_says() {
        let none = RoleMap::default();
        let school: RoleMap = " teacher:supervisor, student:enduser ,".parse().unwrap();
        for (word, plain, mapped) in [
            ("teacher", Role::EndUser, Role::Supervisor),
            ("student", Role::EndUser, Role::EndUser),
            ("Teacher", Role::EndUser, Role::EndUser),
            ("admin", Role::Admin, Role::Admin),
            ("supervisor", Role::Supervisor, Role::Supervisor),
            ("", Role::EndUser, Role::EndUser),
        ] {
            assert_eq!((none.read(word), school.read(word)), (plain, mapped), "{word:?}");
        }
    }

    #[test]
    fn a_map_that_would_make_admins_or_take_a_role_away_is_refused() {
        for text in [
            "head:admin",
            "admin:enduser",
            "supervisor:enduser",
            "user:supervisor",
            "teacher",
            "teacher:boss",
            ":supervisor",
            "teacher:supervisor,teacher:enduser",
        ] {
            assert!(text.parse::<RoleMap>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_role_is_found_under_all_its_words() {
        let school: RoleMap = "teacher:supervisor".parse().unwrap();
        let found = ["admin", "teacher", "supervisor", "student", "user", ""];
        assert_eq!(
            school.stored_words(Role::Supervisor, found),
            ["teacher", "supervisor"]
        );
        assert_eq!(school.stored_words(Role::EndUser, found), ["student", "user", ""]);
        assert_eq!(school.stored_words(Role::Admin, found), ["admin"]);
    }
}
