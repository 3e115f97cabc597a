//! Tickets: what is handed from hand to hand survives the trip or is refused.

use homing_base::Ticket;
use homing_base::limits::{DIRECT_ADDRESSES_MAX, TICKET_CHARS_MAX};
use homing_base::ticket::TicketError;
use proptest::prelude::*;

use crate::arbitrary::{key, plain, sockets, tickets};

fn ticket() -> Ticket {
    let record = plain(&key(3)).sign(&key(3)).expect("signs").bytes().to_vec();
    Ticket { record, direct: vec!["192.0.2.1:4433".parse().expect("a socket")] }
}

fn refusal(text: &str) -> TicketError {
    text.parse::<Ticket>().expect_err("a bad ticket was accepted")
}

#[test]
fn each_mistake_has_its_own_answer() {
    let text = ticket().to_string();
    assert_eq!(refusal(""), TicketError::Prefix);
    assert_eq!(refusal(&text[1..]), TicketError::Prefix);
    assert_eq!(refusal("homing1not base32!"), TicketError::Base32);
    assert!(matches!(refusal("homing1"), TicketError::Encoding(_)));
    assert!(matches!(refusal(&text[..text.len() - 8]), TicketError::Encoding(_)), "cut");
    let long = "homing1".to_owned() + &"a".repeat(TICKET_CHARS_MAX);
    assert_eq!(refusal(&long), TicketError::Long { len: long.len(), max: TICKET_CHARS_MAX });
    let socket = "192.0.2.1:1".parse().expect("a socket");
    let many = Ticket { direct: vec![socket; DIRECT_ADDRESSES_MAX + 1], ..ticket() };
    assert_eq!(refusal(&many.to_string()), TicketError::Addresses { max: DIRECT_ADDRESSES_MAX });
}

#[test]
fn a_ticket_with_a_forged_record_is_refused() {
    let mut forged = ticket();
    *forged.record.last_mut().expect("a signature") ^= 1;
    assert!(matches!(refusal(&forged.to_string()), TicketError::Record(_)));
}

#[test]
fn a_ticket_may_be_typed_in_capitals() {
    let text = ticket().to_string();
    let (prefix, body) = text.split_at("homing1".len());
    assert_eq!(format!("{prefix}{}", body.to_uppercase()).parse(), Ok(ticket()));
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(ticket in tickets()) {
        let text = ticket.to_string();
        prop_assert!(text.len() <= TICKET_CHARS_MAX);
        prop_assert!(text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
        prop_assert_eq!(text.parse(), Ok(ticket));
    }

    #[test]
    fn a_changed_character_never_changes_whose_ticket_it_is(
        direct in proptest::collection::vec(sockets(), 0..4),
        at in any::<prop::sample::Index>(), with in "[a-z2-7]",
    ) {
        let good = Ticket { direct, ..ticket() };
        let mut text = good.to_string();
        let at = at.index(text.len());
        text.replace_range(at..=at, &with);
        // Addresses are hints and not signed; the record is.
        if let Ok(read) = text.parse::<Ticket>() { prop_assert_eq!(read.record, good.record); }
    }
}
