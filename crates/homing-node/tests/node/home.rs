//! One home, one daemon; ports and sockets that are taken; a clean end.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use homing_api::{ApiError, Code};
use homing_node::home::{Home, HomeError};

use crate::common::{client, on_loopback, start};

#[tokio::test]
async fn a_second_daemon_on_one_home_is_refused_and_the_first_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), "first").await;
    let error = on_loopback(dir.path(), "second").start().await.unwrap_err();
    let told = ApiError::from(&error);
    assert_eq!((told.code, told.exit), (Code::AlreadyExists, 8));
    assert!(told.why.unwrap().contains(&std::process::id().to_string()));
    assert_eq!(client(&node).info().await.unwrap().node_id, node.node_id());
    assert_eq!(node.home().holder(), Some(Some(std::process::id())));
    node.stop().await.unwrap();
    assert_eq!(node.home().holder(), None);
    start(dir.path(), "second").await.stop().await.unwrap();
}

#[tokio::test]
async fn a_dead_daemons_socket_is_replaced_but_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("homing.sock");
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let node = start(dir.path(), "agent").await;
    assert_eq!(client(&node).version().await.unwrap().api_major, homing_api::API_MAJOR);
    node.stop().await.unwrap();
    assert!(!socket.exists(), "the socket goes with the daemon");

    std::fs::write(&socket, "precious").unwrap();
    let error = on_loopback(dir.path(), "agent").start().await.unwrap_err();
    assert!(ApiError::from(&error).message.contains("cannot listen on"));
    assert_eq!(std::fs::read(&socket).unwrap(), b"precious");
}

#[tokio::test]
async fn a_socket_path_that_is_too_long_is_a_configuration_error() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("x".repeat(120));
    let error = on_loopback(&deep, "agent").start().await.unwrap_err();
    let told = ApiError::from(&error);
    assert_eq!((told.code, told.exit), (Code::ConfigInvalid, 10));
    assert!(told.hint.unwrap().contains("HOMING_SOCKET"));
    assert!(!deep.exists(), "nothing was made");

    let short = Home::at(&deep).with_socket(dir.path().join("s"));
    let node = on_loopback(&deep, "agent").home_at(short).start().await.unwrap();
    assert!(dir.path().join("s").exists());
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_configured_port_that_is_taken_is_named() {
    let (dir, taken) =
        (tempfile::tempdir().unwrap(), std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let addr = taken.local_addr().unwrap();
    let error = on_loopback(dir.path(), "agent").listen(addr).start().await.unwrap_err();
    let told = ApiError::from(&error);
    assert_eq!((told.code, told.exit), (Code::PortInUse, 10));
    assert!(told.message.contains(&addr.to_string()));
}

#[tokio::test]
async fn the_last_port_is_taken_again_and_left_to_others_when_they_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let any = || homing_node::Node::builder().home(dir.path()).name("agent").start();
    let node = any().await.unwrap();
    let port = node.info().await.unwrap().udp_port.unwrap();
    // Free when it has stopped, whoever still holds the node.
    let mut stopped = Vec::new();
    for _ in 0..3 {
        stopped.last().unwrap_or(&node).stop().await.unwrap();
        stopped.push(any().await.unwrap());
        assert_eq!(stopped.last().unwrap().info().await.unwrap().udp_port, Some(port));
    }
    stopped.last().unwrap().stop().await.unwrap();

    let _taken = std::net::UdpSocket::bind(("0.0.0.0", port)).unwrap();
    let node = any().await.unwrap();
    assert_ne!(node.info().await.unwrap().udp_port, Some(port));
    node.stop().await.unwrap();
    drop(node);
}

#[tokio::test]
async fn bad_configuration_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.toml"), "nmae = \"x\"\n").unwrap();
    let error = on_loopback(dir.path(), "agent").start().await.unwrap_err();
    let told = ApiError::from(&error);
    assert_eq!(
        (told.code, told.hint.as_deref()),
        (Code::ConfigInvalid, Some("did you mean name?"))
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no identity, no store, no lock");
    let told =
        ApiError::from(&on_loopback(&dir.path().join("x"), "No Label").start().await.unwrap_err());
    assert_eq!(told.code, Code::ConfigInvalid);
}

#[tokio::test]
async fn others_read_neither_the_databases_nor_the_home() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join(".homing");
    std::fs::create_dir(&home).unwrap();
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(&home, 0o755);
    for _ in 0..2 {
        let node = start(&home, "agent").await;
        for file in ["homing.db", "homing.db-wal", "homing.db-shm"] {
            assert_eq!(mode(&home.join(file)), 0o600, "{file}");
        }
        assert_eq!(mode(&home), 0o700);
        node.stop().await.unwrap();
        drop(node);
        // As an earlier version left it.
        open(&home.join("homing.db"), 0o644);
    }
}

#[test]
fn a_home_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Home::at(file.join("home")).ensure().unwrap_err();
    assert!(matches!(error, HomeError::Directory { .. }));
    assert!(ApiError::from(&error).message.contains("home"));
}

#[tokio::test]
async fn stopping_is_clean_and_quick() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), "agent").await;
    let mut events = client(&node).events().await.unwrap();
    let begun = Instant::now();
    assert!(client(&node).stop().await.unwrap().changed);
    node.stopped().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    while let Ok(Some(_)) = events.recv_event().await {}
    assert_eq!(client(&node).info().await.unwrap_err().code, Code::DaemonNotRunning);
    assert_eq!(node.info().await.unwrap_err().code, Code::DaemonNotRunning);
}
