//! Hostile servers, names and records: attack 10 on registries, full-read SSRF through the card fetcher,
//! and answers that are meant to hurt whoever reads them.

use std::sync::Arc;

use homing_registry::cards::{FetchError, Fetcher, FetcherConfig};

use crate::fetching::record;
use crate::gzip;
use crate::support::{Reply, Script, Server, ok, status};

/// An inner service that must never be asked.
async fn secret() -> Server {
    Server::start(|_, _| ok("", "the secret")).await
}

fn is_refused(error: &FetchError) -> bool {
    matches!(error, FetchError::Address { .. })
}

#[tokio::test]
async fn inner_addresses_are_refused_however_they_are_written() {
    let inner = secret().await;
    let port = inner.addr.port();
    let config = FetcherConfig { allow_http: true, ..FetcherConfig::default() };
    let fetcher = Fetcher::new(config);
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "10.0.0.1",
        "[fe80::1]",
    ] {
        let url = format!("http://{host}:{port}/latest/meta-data/");
        let error = fetcher.get(&url).await.unwrap_err();
        assert!(is_refused(&error), "{host}: {error}");
        let error = fetcher.card_of(&record(&url, b"x"), None).await.unwrap_err();
        assert!(is_refused(&error), "{host}: {error}");
    }
    assert_eq!(inner.heads.count(), 0);
}

#[tokio::test]
async fn a_redirect_to_an_inner_address_is_refused() {
    let inner = secret().await;
    let port = inner.addr.port();
    for location in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("//127.0.0.1:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[::ffff:a9fe:a9fe]/".to_owned(),
    ] {
        let header = format!("Location: {location}\r\n");
        let server = Server::start(move |_, _| status("307 Temporary Redirect", &header)).await;
        let error = server.fetcher(|_| {}).get(&server.url("/")).await.unwrap_err();
        assert!(is_refused(&error), "{location}: {error}");
    }
    for location in [
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/x",
        "http://u:p@example.com/",
        "http://127.0.0.1:22/",
    ] {
        let header = format!("Location: {location}\r\n");
        let server = Server::start(move |_, _| status("302 Found", &header)).await;
        let error = server.fetcher(|_| {}).get(&server.url("/")).await.unwrap_err();
        assert!(matches!(error, FetchError::Target(_)), "{location}: {error}");
    }
    assert_eq!(inner.heads.count(), 0);
}

#[tokio::test]
async fn a_name_with_one_inner_address_is_refused_whole() {
    let inner = secret().await;
    let config = || FetcherConfig { allow_http: true, ..FetcherConfig::default() };
    let url = format!("http://cards.example.com:{}/", inner.addr.port());
    for addresses in [
        &["127.0.0.1"][..],
        &["93.184.215.14", "127.0.0.1"],
        &["2606:4700::1111", "::ffff:127.0.0.1"],
        &["100.64.0.1"],
    ] {
        let fetcher = Fetcher::with_resolver(config(), Script::new(&[addresses]));
        let error = fetcher.get(&url).await.unwrap_err();
        assert!(is_refused(&error), "{addresses:?}: {error}");
    }
    let none = Fetcher::with_resolver(config(), Script::new(&[&[]]));
    assert!(matches!(none.get(&url).await, Err(FetchError::Resolve { .. })));
    let many: Vec<String> = (0..40).map(|i| format!("8.8.8.{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let flood = Fetcher::with_resolver(config(), Script::new(&[&many]));
    assert!(matches!(flood.get(&url).await, Err(FetchError::Resolve { .. })));
    assert_eq!(inner.heads.count(), 0);
}

/// 127.0.0.2 stands for the public address: the test may connect to it, and to nothing else.
#[tokio::test]
async fn rebinding_a_name_does_not_move_the_connection() {
    let public = Server::start_at(
        "127.0.0.2:0".parse().unwrap(),
        None,
        Arc::new(|_: &str, _: usize| ok("", "public")),
    )
    .await;
    let inner_addr = format!("127.0.0.1:{}", public.addr.port()).parse().unwrap();
    let inner =
        Server::start_at(inner_addr, None, Arc::new(|_: &str, _: usize| ok("", "the secret")))
            .await;
    let resolver = Script::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let fetcher = Fetcher::with_resolver(public.config(|_| {}), resolver.clone());
    let url = |path: &str| format!("http://rebind.example.com:{}{path}", public.addr.port());
    assert_eq!(&fetcher.get(&url("/")).await.unwrap().bytes[..], b"public");
    assert_eq!(
        resolver.asked.lock().unwrap().len(),
        1,
        "resolved once, connected to what was checked"
    );
    let error = fetcher.get(&url("/again")).await.unwrap_err();
    assert!(is_refused(&error), "{error}");
    assert_eq!((public.heads.count(), inner.heads.count()), (1, 0));
}

#[tokio::test]
async fn an_answer_longer_than_a_card_is_cut_off() {
    let announced = Server::start(|_, _| {
        Reply::Silent(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec())
    })
    .await;
    let error = announced.fetcher(|_| {}).get(&announced.url("/")).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLong { .. }), "{error}");
    let endless = Server::start(|_, _| {
        Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 8_192])
    })
    .await;
    let error = endless.fetcher(|_| {}).get(&endless.url("/")).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLong { .. }), "{error}");
    let chunked = Server::start(|_, _| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        Reply::Endless(
            head,
            b"400\r\n".iter().copied().chain([b'x'; 1_024]).chain(*b"\r\n").collect(),
        )
    })
    .await;
    let error = chunked.fetcher(|_| {}).get(&chunked.url("/")).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLong { .. }), "{error}");
}

#[tokio::test]
async fn heads_without_end_are_cut_off() {
    for (first, again) in [
        (&b"HTTP/1.1 200 OK\r\nX: "[..], &b"xxxxxxxxxxxxxxxx"[..]),
        (b"HTTP/1.1 200 OK\r\n", b"X-More: x\r\n"),
        (b"", b"xxxxxxxxxxxxxxxx"),
    ] {
        let server =
            Server::start(move |_, _| Reply::Endless(first.to_vec(), again.to_vec())).await;
        let error = server.fetcher(|_| {}).get(&server.url("/")).await.unwrap_err();
        assert!(matches!(error, FetchError::Http { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_compressed_answer_is_not_unpacked() {
    let bomb = gzip::of_spaces(16 << 20);
    assert!(bomb.len() < homing_registry::limits::CARD_BYTES_MAX, "it fits as it is");
    for encoding in ["gzip", "br", "deflate, gzip"] {
        let (bomb, header) = (bomb.clone(), format!("Content-Encoding: {encoding}\r\n"));
        let server = Server::start(move |_, _| ok(&header, &bomb)).await;
        let error = server.fetcher(|_| {}).get(&server.url("/")).await.unwrap_err();
        assert!(matches!(error, FetchError::Encoding { .. }), "{error}");
    }
    // Unsaid, they are bytes that are no card.
    let server = Server::start(move |_, _| ok("", &bomb)).await;
    let fetched = server.fetcher(|_| {}).get(&server.url("/")).await.unwrap();
    assert!(homing_registry::cards::Card::parse(&fetched.bytes).is_err());
}

#[tokio::test(start_paused = true)]
async fn whoever_is_slow_is_given_up() {
    // Time is virtual and runs as soon as everybody waits.
    for first in
        [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxx"]
    {
        let server = Server::start(move |_, _| Reply::Silent(first.to_vec())).await;
        let error = server.fetcher(|_| {}).get(&server.url("/")).await.unwrap_err();
        assert!(matches!(error, FetchError::Timeout { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_truncated_answer_is_no_card() {
    let server = Server::start(|_, _| {
        Reply::Whole(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec())
    })
    .await;
    let error = server.fetcher(|_| {}).get(&server.url("/")).await.unwrap_err();
    assert!(matches!(error, FetchError::Http { .. }), "{error}");
}

#[tokio::test]
async fn a_registry_does_not_flood_one_host() {
    let server = Server::start(|_, _| Reply::Silent(Vec::new())).await;
    let fetcher = server.fetcher(|_| {});
    let mut flights = tokio::task::JoinSet::new();
    for i in 0..64 {
        let (fetcher, url) = (fetcher.clone(), server.url(&format!("/{i}")));
        flights.spawn(async move { fetcher.get(&url).await });
    }
    // Eight hang until their time is over; all others are told at once.
    for _ in 0..56 {
        let got = flights.join_next().await.unwrap().unwrap();
        assert_eq!(got.unwrap_err(), FetchError::Busy);
    }
    assert!(server.heads.count() <= 8, "{}", server.heads.count());
}
