//! The names under which Flowise knows people and their conversations.
//!
//! Flowise tells memories apart by `sessionId` and streams by `chatId`, and both are all it knows: whoever names another
//! person's ids is in that person's conversation. So both are made here, and bound to the person.

use std::net::Ipv6Addr;

use uuid::Uuid;

/// The namespace of everything here.
const NAMES: Uuid = Uuid::from_u128(0x5d1c_7a0e_93b4_4f6f_8a52_6b0c_e1d4_27f9);

/// `fd00::1`: the beginning of local IPv6 addresses, which nobody out there has.
const LOCAL: u128 = 0xFD << 120 | 1;

/// The name of a conversation's memory: the same for every turn, another one for everybody else who names this session.
pub fn memory_id(user_id: &str, chatflow_id: &str, session_id: &str) -> String {
    name(&format!("{user_id}:{chatflow_id}:{session_id}"))
}

/// The name of a conversation's stream. It is that of its memory, unless a run was left behind that may still be
/// writing: Flowise gives what such a run writes to whoever has its `chatId` by then, so nobody gets that name again.
pub fn chat_id(memory_id: &str, left_run: Option<&str>) -> String {
    match left_run {
        None => memory_id.to_owned(),
        Some(turn_id) => name(&format!("{memory_id}:{turn_id}")),
    }
}

/// An address that stands for a person. Flowise counts a chatflow's rate limit by address, and would count everybody who
/// comes through us as one. Persons differ within the first 56 bits: some limiters look no further.
pub fn address_of(user_id: &str) -> Ipv6Addr {
    let bits = Uuid::new_v5(&NAMES, format!("address:{user_id}").as_bytes()).as_u128();
    Ipv6Addr::from_bits(LOCAL | (bits >> 80) << 72)
}

fn name(of: &str) -> String {
    Uuid::new_v5(&NAMES, of.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: &str = "d4fd9c78-c25f-458a-89ed-5a4b53eb12cf";

    #[test]
    fn memories_are_stable_and_never_shared_between_people() {
        let id = memory_id("alice", FLOW, "s");
        assert_eq!(id, memory_id("alice", FLOW, "s"));
        assert_ne!(id, memory_id("bob", FLOW, "s"));
        assert_ne!(id, memory_id("alice", FLOW, "t"));
        assert_ne!(id, memory_id("alice", "another", "s"));
    }

    #[test]
    fn a_stream_has_its_memorys_name_until_a_run_is_left_behind() {
        let memory = memory_id("alice", FLOW, "s");
        assert_eq!(chat_id(&memory, None), memory);
        let (after_one, after_two) = (chat_id(&memory, Some("turn-1")), chat_id(&memory, Some("turn-2")));
        assert_ne!(after_one, memory);
        assert_ne!(after_one, after_two);
    }

    #[test]
    fn people_have_addresses_of_their_own_that_are_nobodys() {
        let (alice, bob) = (address_of("alice"), address_of("bob"));
        assert_eq!(alice, address_of("alice"));
        assert!(alice.is_unique_local() && bob.is_unique_local());
        assert_ne!(alice.octets()[..7], bob.octets()[..7]);
    }
}
