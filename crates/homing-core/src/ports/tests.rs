//! Attempts from either side, one rule at a time.

use super::*;

const IP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

fn id(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn at(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(IP, port)
}

fn secs(n: u64) -> Mono {
    Mono(1_000_000_000).after(Duration::from_secs(n))
}

fn pair(role: Role) -> Pair {
    let endpoint = InstanceId([9; 32]);
    Pair { role, since: secs(0), endpoint, dialled: true, named: BTreeSet::from([IP]) }
}

fn pairs(role: Role) -> BTreeMap<NodeId, Pair> {
    [(id(1), pair(role))].into()
}

fn machine() -> Ports {
    Ports::new([3; 32])
}

fn outputs(ports: &mut Ports) -> Vec<PortsOutput> {
    std::iter::from_fn(|| ports.poll_output()).collect()
}

/// The attempt that the shell was asked to measure for.
fn measured(ports: &mut Ports) -> Option<u64> {
    outputs(ports).iter().find_map(|output| match output {
        PortsOutput::Order(PortOrder::Measure { attempt }) => Some(*attempt),
        _ => None,
    })
}

fn offer(attempt: u64, at: SocketAddrV4) -> Word {
    Word::Offer(Offer { attempt, secret: [5; 32], at: at.into() })
}

fn declines(ports: &mut Ports, attempt: u64) -> bool {
    outputs(ports) == [PortsOutput::Send(id(1), Word::No(attempt))]
}

#[test]
fn hole_punching_comes_first() {
    let mut ports = machine();
    ports.tend(secs(1), pairs(Role::Easy));
    assert_eq!(measured(&mut ports), None);
    assert_eq!(ports.deadline(), Some(secs(2)));
    ports.tend(secs(2), pairs(Role::Easy));
    assert!(measured(&mut ports).is_some());
}

#[test]
fn the_symmetric_side_waits_to_be_asked() {
    let mut ports = machine();
    ports.tend(secs(60), pairs(Role::Hard));
    assert!(outputs(&mut ports).is_empty());
    ports.on_word(secs(60), id(1), offer(7, at(5_000)));
    let endpoint = InstanceId([9; 32]);
    let order = PortOrder::Fan { attempt: 7, endpoint, secret: [5; 32], at: at(5_000) };
    assert_eq!(outputs(&mut ports), [PortsOutput::Order(order)]);
}

#[test]
fn nobody_is_aimed_at_a_third_party() {
    let private = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 1), 5_000);
    let other = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 5_000);
    for bad in [private, other, at(53)] {
        let mut ports = machine();
        let mut hard = pairs(Role::Hard);
        // Named or not: somebody's own network is not probed.
        hard.get_mut(&id(1)).unwrap().named.insert(*private.ip());
        ports.tend(secs(60), hard);
        ports.on_word(secs(60), id(1), offer(7, bad));
        assert!(declines(&mut ports, 7), "{bad}");
    }
}

#[test]
fn an_answer_from_an_address_that_was_not_named_ends_the_attempt() {
    let mut ports = machine();
    ports.tend(secs(2), pairs(Role::Easy));
    let attempt = measured(&mut ports).unwrap();
    ports.on_news(secs(2), PortNews::Measured { attempt, found: Some((at(5_000), [5; 32])) });
    outputs(&mut ports);
    ports.on_word(secs(2), id(1), Word::Ready(Ready { attempt, ip: [198, 51, 100, 1] }));
    assert_eq!(outputs(&mut ports), [PortsOutput::Order(PortOrder::Drop { attempt })]);
}

#[test]
fn one_attempt_at_a_time() {
    let mut ports = machine();
    let both = BTreeMap::from([(id(1), pair(Role::Hard)), (id(2), pair(Role::Hard))]);
    ports.tend(secs(60), both);
    ports.on_word(secs(60), id(2), offer(6, at(5_000)));
    outputs(&mut ports);
    ports.on_word(secs(60), id(1), offer(7, at(5_000)));
    assert!(declines(&mut ports, 7));
    ports.on_news(secs(61), PortNews::Failed { attempt: 6 });
    outputs(&mut ports);
    ports.on_word(secs(61), id(1), offer(8, at(5_000)));
    assert!(!declines(&mut ports, 8));
}

#[test]
fn a_peer_gets_so_many_attempts_an_hour_whatever_it_says() {
    let mut ports = machine();
    ports.tend(secs(60), pairs(Role::Hard));
    let mut taken = 0;
    for n in 0..100 {
        ports.on_word(secs(60 + n), id(1), offer(n, at(5_000)));
        taken += usize::from(!declines(&mut ports, n));
        ports.on_news(secs(60 + n), PortNews::Failed { attempt: n });
        outputs(&mut ports);
    }
    assert_eq!(taken, ATTEMPTS_PER_PEER_AND_HOUR);
    ports.on_word(secs(60 + 3_700), id(1), offer(200, at(5_000)));
    assert!(!declines(&mut ports, 200), "an hour later");
}

#[test]
fn the_easy_side_tries_less_and_less_often() {
    let mut ports = machine();
    let mut began = Vec::new();
    let mut now = secs(0);
    while now < secs(7_200) {
        ports.tend(now, pairs(Role::Easy));
        if let Some(attempt) = measured(&mut ports) {
            began.push(now.since(secs(0)).as_secs());
            ports.on_news(now, PortNews::Measured { attempt, found: None });
            outputs(&mut ports);
        }
        let next = ports.deadline().expect("it never gives up for good");
        assert!(next > now, "a deadline in the past is a hot loop");
        now = next;
    }
    let gaps: Vec<u64> = began.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [30, 120, 480, 1_920, 3_600]);
}

#[test]
fn trust_that_ends_drops_the_attempt() {
    let mut ports = machine();
    ports.tend(secs(2), pairs(Role::Easy));
    let attempt = measured(&mut ports).unwrap();
    ports.tend(secs(3), BTreeMap::new());
    assert_eq!(outputs(&mut ports), [PortsOutput::Order(PortOrder::Drop { attempt })]);
    ports.on_word(secs(3), id(1), Word::Ready(Ready { attempt, ip: IP.octets() }));
    assert!(outputs(&mut ports).is_empty());
}

/// What the accepting side does with the other's entry: only once it is through itself, and on loopback.
#[test]
fn an_entry_is_shown_when_both_are_through() {
    let entry = SocketAddrV4::new(Ipv4Addr::new(127, 8, 8, 8), 40_000);
    let elsewhere = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 40_000);
    let through = |entry: SocketAddrV4| Word::Through(Through { attempt: 7, entry: entry.into() });
    for early in [false, true] {
        let mut ports = machine();
        let mut hard = pairs(Role::Hard);
        hard.get_mut(&id(1)).unwrap().dialled = false;
        ports.tend(secs(60), hard);
        ports.on_word(secs(60), id(1), offer(7, at(5_000)));
        ports.on_news(secs(60), PortNews::Fanned { attempt: 7, ip: Some(IP) });
        outputs(&mut ports);
        ports.on_word(secs(61), id(1), through(elsewhere));
        if early {
            ports.on_word(secs(61), id(1), through(entry));
        }
        assert!(outputs(&mut ports).is_empty());
        ports.on_news(secs(61), PortNews::Through { attempt: 7, entry });
        if !early {
            ports.on_word(secs(61), id(2), through(entry));
            assert!(outputs(&mut ports).is_empty(), "of somebody else");
            ports.on_word(secs(61), id(1), through(entry));
        }
        assert_eq!(outputs(&mut ports), [PortsOutput::Order(PortOrder::Show { entry })]);
        for port in 2_000..2_100 {
            let another = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
            ports.on_word(secs(61), id(1), through(another));
        }
        assert!(outputs(&mut ports).is_empty(), "one for each attempt");
    }
}

#[test]
fn a_path_that_ends_soon_counts_as_a_failure() {
    for (lasted, again) in [(29, secs(2 + 29 + 30)), (31, secs(2 + 31))] {
        let mut ports = machine();
        ports.tend(secs(2), pairs(Role::Easy));
        let attempt = measured(&mut ports).unwrap();
        let found = Some((at(5_000), [5; 32]));
        ports.on_news(secs(2), PortNews::Measured { attempt, found });
        ports.on_word(secs(2), id(1), Word::Ready(Ready { attempt, ip: IP.octets() }));
        let entry = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 40_000);
        ports.on_news(secs(2), PortNews::Through { attempt, entry });
        ports.tend(secs(3), BTreeMap::new());
        outputs(&mut ports);
        ports.on_news(secs(2 + lasted), PortNews::Ended { attempt });
        ports.pairs = pairs(Role::Easy);
        assert_eq!(ports.deadline(), Some(again));
    }
}

#[test]
fn another_network_is_tried_at_once() {
    let mut ports = machine();
    ports.tend(secs(2), pairs(Role::Easy));
    let attempt = measured(&mut ports).unwrap();
    ports.on_news(secs(2), PortNews::Measured { attempt, found: None });
    outputs(&mut ports);
    ports.on_network_changed(secs(3));
    assert_eq!(outputs(&mut ports), [PortsOutput::Order(PortOrder::EndAll)]);
    ports.tend(secs(3), pairs(Role::Easy));
    assert!(measured(&mut ports).is_some());
}

#[test]
fn words_are_read_back_and_bounded() {
    let through = Through { attempt: u64::MAX, entry: at(u16::MAX).into() };
    let ready = Ready { attempt: 1, ip: IP.octets() };
    let words = [offer(7, at(5_000)), Word::Ready(ready), Word::No(3), Word::Through(through)];
    for word in words {
        let bytes = word.encode();
        assert_eq!(Word::decode(&bytes), Ok(word));
        for i in 0..bytes.len() {
            assert!(Word::decode(&bytes[..i]).is_err(), "cut short");
        }
    }
    assert!(Word::decode(&[0; wire::WORD_BYTES_MAX + 1]).is_err());
}

#[test]
fn a_peer_that_moved_is_tried_anew() {
    let mut ports = machine();
    ports.tend(secs(2), pairs(Role::Easy));
    let attempt = measured(&mut ports).unwrap();
    ports.on_news(secs(2), PortNews::Measured { attempt, found: None });
    outputs(&mut ports);
    ports.tend(secs(3), pairs(Role::Easy));
    assert_eq!(measured(&mut ports), None);
    let mut moved = pairs(Role::Easy);
    moved.get_mut(&id(1)).unwrap().named = BTreeSet::from([Ipv4Addr::new(203, 0, 113, 8)]);
    ports.tend(secs(3), moved);
    assert!(measured(&mut ports).is_some());
}
