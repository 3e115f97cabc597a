//! The agent card: the record names it, restarts keep it, every trusted peer may have it.

use homing_base::Scope;
use homing_base::record::CardRef;

use super::world::*;
use crate::io::*;

fn card(url: &str) -> Option<CardRef> {
    Some(CardRef { url: url.to_owned(), sha256: [7; 32] })
}

#[test]
fn the_next_record_names_the_card_and_so_do_those_of_later_runs() {
    let mut world = World::fleet(&[1]);
    let before = world.agent(1).own_record().unwrap().sequence;
    let set = Command::SetCard(card("/.well-known/agent-card.json"));
    assert!(matches!(world.command(1, set.clone()), Ok(Answer::Done { changed: true })));
    assert!(matches!(world.command(1, set), Ok(Answer::Done { changed: false })));
    world.run_for(secs(3));
    let record = world.agent(1).own_record().unwrap().clone();
    assert!(record.sequence > before);
    assert_eq!(record.card, card("/.well-known/agent-card.json"));
    world.kill(1);
    world.start(1, member(1, 2));
    assert_eq!(world.agent(1).own_record().unwrap().card, record.card);
    world.command(1, Command::SetCard(None)).unwrap();
    world.run_for(secs(3));
    assert_eq!(world.agent(1).own_record().unwrap().card, None);
}

#[test]
fn a_url_that_no_record_takes_changes_nothing() {
    let mut world = World::fleet(&[1]);
    for url in ["x".repeat(257), "https://a.example.com/\n".to_owned()] {
        let refused = world.command(1, Command::SetCard(card(&url)));
        assert!(matches!(refused, Err(Failure::Invalid(_))), "{refused:?}");
    }
    assert_eq!(world.agent(1).own_card(), None);
}

#[test]
fn a_trusted_peer_may_have_the_card_whatever_it_is_trusted_for() {
    let mut world = World::fleet(&[1, 2]);
    world.shake_hands(1, 2);
    let narrow = Command::Approve {
        peer: PeerRef::NodeId(id(2)),
        services: Some(vec!["mcp".parse().unwrap()]),
        lifetime: None,
    };
    world.command(1, narrow).unwrap();
    world.run_for(secs(3));
    let connect = |service: &str| Command::Connect {
        peer: PeerRef::NodeId(id(1)),
        service: service.parse().unwrap(),
        timeout: secs(5),
    };
    let ssh = world.command(2, connect("ssh"));
    assert!(matches!(ssh, Err(Failure::ScopeDenied { scope: Scope::Only(_), .. })), "{ssh:?}");
    assert!(matches!(world.command(2, connect("card")), Ok(Answer::Connected { .. })));
    // A stranger may not.
    let stranger =
        Command::Authorize { endpoint: instance(5, 1, 1), service: "card".parse().unwrap() };
    assert!(world.command(1, stranger).is_err());
}
