//! What roles may do: one table, which `proto-docs/roles.md` repeats for people and the routes of all services follow.

use crate::Role;

/// Something that not everybody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// One's own profile, password, devices and data.
    OwnAccount,
    /// Chatting, with the chatflows that are assigned to one, and one's own conversations.
    Chat,
    /// One's own balance, and spending of it.
    OwnCredits,
    /// Holding, settling and recording the use of credits: people of their own, services of anybody's.
    SettleCredits,
    /// Other people's balances.
    ReadBalances,
    /// Reports over everybody.
    ReadReports,
    /// Granting credits to a user id.
    GrantCredits,
    /// Setting, taking and adjusting what somebody can spend.
    CorrectCredits,
    /// Everything else about other people's credits.
    ManageCredits,
    /// Other people's accounts, roles and devices.
    ManageUsers,
    /// Finding somebody by their address.
    FindUsers,
    /// Giving people chatflows, many at a time.
    AssignChatflows,
    /// Chatflows, and who may use which.
    ManageChatflows,
    /// Chats on other people's web sites, and who pays for them.
    ManageEmbeds,
    /// What services tell each other.
    Internal,
}

impl Right {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 15] = [
        Self::OwnAccount,
        Self::Chat,
        Self::OwnCredits,
        Self::SettleCredits,
        Self::ReadBalances,
        Self::ReadReports,
        Self::GrantCredits,
        Self::CorrectCredits,
        Self::ManageCredits,
        Self::ManageUsers,
        Self::FindUsers,
        Self::AssignChatflows,
        Self::ManageChatflows,
        Self::ManageEmbeds,
        Self::Internal,
    ];

    /// The table: the name, the least role that has the right, and whether our services have it. Roles contain one
    /// another, so the least one says it for all.
    const fn row(self) -> (&'static str, Option<Role>, bool) {
        match self {
            Self::OwnAccount => ("own-account", Some(Role::EndUser), false),
            Self::Chat => ("chat", Some(Role::EndUser), false),
            Self::OwnCredits => ("own-credits", Some(Role::EndUser), false),
            Self::SettleCredits => ("settle-credits", Some(Role::EndUser), true),
            Self::ReadBalances => ("read-balances", Some(Role::Supervisor), true),
            Self::ReadReports => ("read-reports", Some(Role::Supervisor), false),
            Self::GrantCredits => ("grant-credits", Some(Role::Supervisor), true),
            Self::CorrectCredits => ("correct-credits", Some(Role::Supervisor), false),
            Self::ManageCredits => ("manage-credits", Some(Role::Admin), false),
            Self::ManageUsers => ("manage-users", Some(Role::Admin), false),
            Self::FindUsers => ("find-users", Some(Role::Admin), true),
            Self::AssignChatflows => ("assign-chatflows", Some(Role::Admin), true),
            Self::ManageChatflows => ("manage-chatflows", Some(Role::Admin), false),
            Self::ManageEmbeds => ("manage-embeds", Some(Role::Admin), false),
            Self::Internal => ("internal", None, true),
        }
    }

    /// The name by which documents call it.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The least role that has it; `None` when no person has.
    pub const fn least_role(self) -> Option<Role> {
        self.row().1
    }

    /// Whether our own services have it.
    pub const fn is_for_services(self) -> bool {
        self.row().2
    }
}

impl Role {
    /// All roles, from the least rights to all.
    pub const ALL: [Self; 3] = [Self::EndUser, Self::Supervisor, Self::Admin];

    /// Whether the role has this right.
    pub fn may(self, right: Right) -> bool {
        right.least_role().is_some_and(|least| self >= least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_owns_themselves_and_only_admins_manage() {
        for role in Role::ALL {
            assert!(role.may(Right::OwnAccount) && role.may(Right::Chat) && !role.may(Right::Internal));
            assert_eq!(role.may(Right::ManageUsers), role == Role::Admin);
            assert_eq!(role.may(Right::GrantCredits), role != Role::EndUser);
        }
    }

    #[test]
    fn names_are_distinct() {
        let mut names = Right::ALL.map(Right::as_str);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
