//! Groups: people who are given chatflows together, such as a class, and those who lead them.

use chrono::{DateTime, Utc};

use super::window::Window;

/// Characters a group's name and its description may have.
pub const NAME_CHARS_MAX: usize = 100;
/// See [`NAME_CHARS_MAX`].
pub const DESCRIPTION_CHARS_MAX: usize = 1_000;

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// A UUID.
    pub id: String,
    /// What administrators call it; no two groups have the same.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its name or description was last changed.
    pub updated_at: DateTime<Utc>,
}

/// What somebody is in a group. One may be both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Part {
    /// May use the group's chatflows.
    #[default]
    Member,
    /// Sees the members' usage, if a supervisor; gets no chatflow by it.
    Lead,
}

impl Part {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Lead => "lead",
        }
    }

    /// Reads one of the two words.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "member" => Some(Self::Member),
            "lead" => Some(Self::Lead),
            _ => None,
        }
    }
}

/// Somebody in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group.
    pub group_id: String,
    /// The `sub` of their tokens.
    pub user_id: String,
    /// What they are in it.
    pub part: Part,
    /// Since when.
    pub added_at: DateTime<Utc>,
}

/// A chatflow that a group's members may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupGrant {
    /// The group.
    pub group_id: String,
    /// Our id of the chatflow, in hexadecimal.
    pub chatflow_id: String,
    /// From when until when.
    pub window: Window,
    /// Since when it stands here.
    pub granted_at: DateTime<Utc>,
}

/// A name that is kept: trimmed, and not beyond its length. The error completes "the name ...".
pub fn name_of(text: &str) -> Result<String, &'static str> {
    let name = text.trim();
    if name.is_empty() {
        return Err("is required");
    }
    if name.chars().nth(NAME_CHARS_MAX).is_some() {
        return Err("may have at most 100 characters");
    }
    if name.chars().any(char::is_control) {
        return Err("must not contain control characters");
    }
    Ok(name.to_owned())
}

/// A description that is kept; nothing but space is none.
pub fn description_of(text: &str) -> Result<Option<String>, &'static str> {
    let text = text.trim();
    if text.chars().nth(DESCRIPTION_CHARS_MAX).is_some() {
        return Err("may have at most 1,000 characters");
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(name_of("  Biology 2B ").as_deref(), Ok("Biology 2B"));
        assert_eq!(name_of(&"班".repeat(100)), Ok("班".repeat(100)));
        for bad in ["", " \t", "a\nb", &"x".repeat(101)] {
            assert!(name_of(bad).is_err(), "{bad:?}");
        }
        assert_eq!(description_of("  "), Ok(None));
        assert!(description_of(&"x".repeat(1_001)).is_err());
    }

    #[test]
    fn parts_are_read_as_they_are_written() {
        for part in [Part::Member, Part::Lead] {
            assert_eq!(Part::parse(part.as_str()), Some(part));
        }
        assert_eq!(Part::parse("owner"), None);
    }
}
