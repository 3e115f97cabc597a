//! Honest servers: revalidation, sharing, staleness, redirects, TLS.

use std::sync::Arc;
use std::time::Duration;

use homing_base::record::CardRef;
use homing_base::{AgentRecord, IdentityKey, InstanceId, Record, Seq, Wall};
use homing_registry::cards::signature::{Keys, Signer};
use homing_registry::cards::target::TargetError;
use homing_registry::cards::{Card, FetchError, Fetcher};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::support::{Reply, Script, Server, full_card, ok, status, tls};

pub(crate) fn record(url: &str, card: &[u8]) -> Record {
    let key = IdentityKey::from_seed([9; 32]);
    let mut content = AgentRecord::new(key.public(), InstanceId([2; 32]), Seq(1), Wall(1));
    content.card = Some(CardRef { url: url.to_owned(), sha256: Sha256::digest(card).into() });
    content.sign(&key).unwrap()
}

/// Waits until `count` requests have come; a minute is generous.
async fn requests(server: &Server, count: usize) {
    for _ in 0..6_000 {
        if server.heads.count() >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("only {} requests", server.heads.count());
}

#[tokio::test]
async fn a_fresh_answer_is_asked_for_once() {
    let server =
        Server::start(|_, n| ok("Cache-Control: max-age=60\r\n", format!("card {n}"))).await;
    let fetcher = server.fetcher(|_| {});
    for _ in 0..3 {
        let got = fetcher.get(&server.url("/card.json")).await.unwrap();
        assert_eq!(&got.bytes[..], b"card 1");
    }
    let heads = server.heads.all();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with("GET /card.json HTTP/1.1\r\n"), "{}", heads[0]);
    let head = heads[0].to_lowercase();
    assert!(head.contains(&format!("\r\nhost: {}\r\n", server.addr)));
    assert!(head.contains("accept-encoding: identity"));
    assert!(!head.contains("cookie") && !head.contains("authorization") && !head.contains("if-"));
}

#[tokio::test]
async fn a_hundred_at_once_are_one_fetch() {
    let (open, gate) = watch::channel(false);
    let server = Server::start(move |_, _| {
        Reply::Gated(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec(), gate.clone())
    })
    .await;
    let fetcher = server.fetcher(|_| {});
    let url = server.url("/");
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let (fetcher, url) = (fetcher.clone(), url.clone());
            tokio::spawn(async move { fetcher.get(&url).await })
        })
        .collect();
    requests(&server, 1).await;
    tokio::task::yield_now().await;
    open.send_replace(true);
    for got in waiting {
        assert_eq!(&got.await.unwrap().unwrap().bytes[..], b"{}");
    }
    assert_eq!(server.heads.count(), 1);
}

#[tokio::test]
async fn a_stale_answer_is_served_while_it_is_renewed_by_its_etag() {
    let server = Server::start(|head, n| match n {
        1 => ok("ETag: \"v1\"\r\nLast-Modified: Sat, 21 Nov 2026 00:00:00 GMT\r\nCache-Control: no-cache\r\n", "one"),
        2 => {
            assert!(head.contains("if-none-match: \"v1\""), "{head}");
            assert!(head.contains("if-modified-since: Sat, 21 Nov 2026 00:00:00 GMT"), "{head}");
            status("304 Not Modified", "Cache-Control: no-cache\r\n")
        }
        _ => ok("ETag: \"v2\"\r\nCache-Control: max-age=600\r\n", "two"),
    })
    .await;
    let fetcher = server.fetcher(|c| c.fresh_min = Duration::ZERO);
    let url = server.url("/");
    let get = async || String::from_utf8(fetcher.get(&url).await.unwrap().bytes.to_vec()).unwrap();
    assert_eq!(get().await, "one");
    assert_eq!(get().await, "one", "stale, and renewed meanwhile");
    requests(&server, 2).await;
    // Each further request may meet the old copy until the new one has landed.
    for _ in 0..6_000 {
        if get().await == "two" {
            assert!(server.heads.count() >= 3);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the new card never came");
}

#[tokio::test]
async fn a_failed_renewal_leaves_the_stale_copy_and_is_not_repeated_at_once() {
    let server = Server::start(|_, n| match n {
        1 => ok("Cache-Control: max-age=0\r\n", "one"),
        _ => status("500 Oops", ""),
    })
    .await;
    let fetcher = server.fetcher(|c| c.fresh_min = Duration::ZERO);
    for _ in 0..2 {
        assert_eq!(&fetcher.get(&server.url("/")).await.unwrap().bytes[..], b"one");
    }
    requests(&server, 2).await;
    for _ in 0..50 {
        assert_eq!(&fetcher.get(&server.url("/")).await.unwrap().bytes[..], b"one");
        tokio::task::yield_now().await;
    }
    // One renewal may have been under way still when the next reader came; no more than that.
    assert!(server.heads.count() <= 3, "{}", server.heads.count());
}

#[tokio::test]
async fn a_failure_is_remembered() {
    let server = Server::start(|_, _| status("404 Not Found", "")).await;
    let fetcher = server.fetcher(|_| {});
    for _ in 0..3 {
        let error = fetcher.get(&server.url("/")).await.unwrap_err();
        assert_eq!(error, FetchError::Status { status: 404 });
    }
    assert_eq!(server.heads.count(), 1);
}

#[tokio::test]
async fn a_record_gets_the_card_with_its_digest_and_no_other() {
    let card = full_card().to_string();
    let body = card.clone();
    let server = Server::start(move |_, n| match n {
        1 => ok("Cache-Control: max-age=3600\r\n", &body),
        _ => ok("Cache-Control: max-age=3600\r\n", "another card"),
    })
    .await;
    let fetcher = server.fetcher(|_| {});
    let url = server.url("/.well-known/agent-card.json");
    let got = fetcher.card_of(&record(&url, card.as_bytes()), None).await.unwrap();
    assert_eq!(&got.bytes[..], card.as_bytes());
    // A newer record names another card, but this one was fetched just now: no hammering.
    let next = record(&url, b"the next card");
    assert!(matches!(fetcher.card_of(&next, None).await, Err(FetchError::Digest { .. })));
    assert_eq!(server.heads.count(), 1);
    // A fetcher for which it is no longer "just now" asks, and still believes the digest only.
    let eager = server.fetcher(|c| c.fresh_min = Duration::ZERO);
    assert!(matches!(eager.card_of(&next, None).await, Err(FetchError::Digest { .. })));
    assert!(matches!(eager.card_of(&next, None).await, Err(FetchError::Digest { .. })));
    assert_eq!(server.heads.count(), 3);
    let bare = AgentRecord::new(next.public_key, InstanceId([2; 32]), Seq(1), Wall(1));
    let bare = bare.sign(&IdentityKey::from_seed([9; 32])).unwrap();
    assert_eq!(eager.card_of(&bare, None).await.unwrap_err(), FetchError::NoCard);
}

#[tokio::test]
async fn redirects_are_followed_a_few_times() {
    let server = Server::start(|head, _| {
        let path = head.split(' ').nth(1).unwrap();
        let left: usize = path.trim_start_matches('/').parse().unwrap();
        match left {
            0 => ok("", "here"),
            n => status("302 Found", &format!("Location: /{}\r\n", n - 1)),
        }
    })
    .await;
    let fetcher = server.fetcher(|_| {});
    assert_eq!(&fetcher.get(&server.url("/3")).await.unwrap().bytes[..], b"here");
    assert_eq!(fetcher.get(&server.url("/4")).await.unwrap_err(), FetchError::Redirects);
    let lost = Server::start(|_, _| status("302 Found", "")).await;
    let error = lost.fetcher(|_| {}).get(&lost.url("/4")).await.unwrap_err();
    assert_eq!(error, FetchError::Redirects, "an empty location leads to the same place");
}

#[tokio::test]
async fn tls_proves_the_host_of_the_url_at_the_checked_address() {
    let (acceptor, certificate) = tls("cards.example.com");
    let handler = Arc::new(|_: &str, _: usize| ok("", "secure"));
    let server = Server::start_at("127.0.0.1:0".parse().unwrap(), Some(acceptor), handler).await;
    let resolver = Script::new(&[&["127.0.0.1"]]);
    let config = server.config(|c| c.more_roots = vec![certificate]);
    let fetcher = Fetcher::with_resolver(config, resolver.clone());
    let url = |host: &str| format!("https://{host}:{}/", server.addr.port());
    let got = fetcher.get(&url("cards.example.com")).await.unwrap();
    assert_eq!(&got.bytes[..], b"secure");
    let host = format!("host: cards.example.com:{}", server.addr.port());
    assert!(server.heads.all()[0].contains(&host));
    assert_eq!(*resolver.asked.lock().unwrap(), ["cards.example.com"]);
    // The same server under a name that its certificate does not have.
    let error = fetcher.get(&url("evil.example.com")).await.unwrap_err();
    assert!(matches!(&error, FetchError::Connect { why } if why.contains("TLS")), "{error}");
    // And a fetcher that does not know the authority.
    let strict = Fetcher::with_resolver(server.config(|_| {}), Script::new(&[&["127.0.0.1"]]));
    assert!(strict.get(&url("cards.example.com")).await.is_err());
}

#[tokio::test]
async fn https_does_not_turn_into_http() {
    let (acceptor, certificate) = tls("cards.example.com");
    let handler = Arc::new(|_: &str, _: usize| {
        status("301 Moved", "Location: http://cards.example.com/\r\n")
    });
    let server = Server::start_at("127.0.0.1:0".parse().unwrap(), Some(acceptor), handler).await;
    let config = server.config(|c| c.more_roots = vec![certificate]);
    let fetcher = Fetcher::with_resolver(config, Script::new(&[&["127.0.0.1"]]));
    let url = format!("https://cards.example.com:{}/", server.addr.port());
    let error = fetcher.get(&url).await.unwrap_err();
    assert_eq!(error, FetchError::Target(TargetError::Downgrade));
}

#[tokio::test]
async fn keys_are_fetched_from_the_cards_own_origin_only() {
    let key = IdentityKey::from_seed([3; 32]);
    let x = data_encoding::BASE64URL_NOPAD.encode(&key.public().0);
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}]}}"#);
    let server = Server::start(move |_, _| ok("", &set)).await;
    let fetcher = server.fetcher(|_| {});
    let signed_at = |jku: &str| {
        let header = serde_json::json!({ "alg": "EdDSA", "kid": "k", "jku": jku }).to_string();
        let protected = data_encoding::BASE64URL_NOPAD.encode(header.as_bytes());
        let mut card = full_card();
        let bare = Card::parse(card.to_string().as_bytes()).unwrap();
        let payload = homing_registry::cards::canonical::payload(&bare);
        let signature = homing_base::jws::sign(&key, &protected, &payload).unwrap();
        let signature = data_encoding::BASE64URL_NOPAD.encode(&signature.0);
        card["signatures"] =
            serde_json::json!([{ "protected": protected, "signature": signature }]);
        Card::parse(card.to_string().as_bytes()).unwrap()
    };
    let home = server.url("/card.json");
    let card = signed_at(&server.url("/jwks.json"));
    let keys = fetcher.keys_of(&card, Some(&home), Keys::default()).await;
    let verdict = homing_registry::cards::signature::check(&card, &keys);
    let origin = format!("http://{}", server.addr);
    assert!(
        matches!(verdict, homing_registry::cards::signature::Verdict::Verified { by: Signer::Origin(o), .. } if o == origin)
    );
    let asked = server.heads.count();
    for jku in ["http://127.0.0.1:9/jwks.json", "https://evil.example.com/jwks.json", "/jwks.json"]
    {
        let card = signed_at(jku);
        assert!(
            fetcher.keys_of(&card, Some(&home), Keys::default()).await.origin.is_none(),
            "{jku}"
        );
    }
    assert!(fetcher.keys_of(&card, None, Keys::default()).await.origin.is_none());
    assert_eq!(server.heads.count(), asked);
}
