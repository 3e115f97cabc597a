//! `identity.json`: whole or absent, never overwritten, refused with a reason.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use homing_api::{ApiError, Code};
use homing_base::identity::to_json;
use homing_node::identity_file::{self, IdentityFileError};
use homing_node::{Node, StartError};

fn write(path: &Path, text: impl AsRef<[u8]>, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn told(error: &IdentityFileError) -> (Code, String) {
    let told = ApiError::from(error);
    assert!(told.hint.is_some(), "{told:?} says what to try");
    (told.code, told.message)
}

#[test]
fn what_was_created_is_read_back_private_and_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.json");
    let key = identity_file::generate();
    identity_file::create(&path, &key).unwrap();
    assert_eq!(identity_file::load(&path).unwrap().node_id(), key.node_id());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.json");
    std::fs::write(&path, "").unwrap();
    let error = identity_file::create(&path, &identity_file::generate()).unwrap_err();
    assert_eq!(told(&error).0, Code::AlreadyExists);
    assert_eq!(std::fs::read(&path).unwrap(), b"");

    let link = dir.path().join("link.json");
    symlink(dir.path().join("nowhere"), &link).unwrap();
    let error = identity_file::create(&link, &identity_file::generate()).unwrap_err();
    assert!(matches!(error, IdentityFileError::Exists { .. }));
}

#[test]
fn of_many_creators_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.json");
    let keys: Vec<_> = (0..8).map(|_| identity_file::generate()).collect();
    let won = std::thread::scope(|scope| {
        let path = &path;
        let attempts: Vec<_> =
            keys.iter().map(|key| scope.spawn(move || identity_file::create(path, key))).collect();
        attempts.into_iter().map(|t| t.join().unwrap().is_ok()).collect::<Vec<_>>()
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    let winner = &keys[won.iter().position(|won| *won).unwrap()];
    assert_eq!(identity_file::load(&path).unwrap().node_id(), winner.node_id());
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.json");
    let text = to_json(&identity_file::generate());
    for mode in [0o644, 0o640, 0o660, 0o601] {
        write(&path, &text, mode);
        let error = identity_file::load(&path).unwrap_err();
        let told = ApiError::from(&error);
        assert_eq!((told.code, told.exit), (Code::KeyPermissions, 10), "mode {mode:o}");
        assert!(told.hint.unwrap().starts_with("chmod 600 "));
    }
    write(&path, &text, 0o400);
    assert!(identity_file::load(&path).is_ok());
}

#[test]
fn a_link_to_a_private_key_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real.json"), dir.path().join("identity.json"));
    let key = identity_file::generate();
    write(&real, to_json(&key), 0o600);
    symlink(&real, &link).unwrap();
    assert_eq!(identity_file::load(&link).unwrap().node_id(), key.node_id());
}

#[test]
fn whatever_is_no_identity_is_refused_without_repeating_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.json");
    let (mine, other) = (identity_file::generate(), identity_file::generate());
    let text = to_json(&mine);
    let secret = data_encoding::HEXLOWER.encode(&mine.to_secret_seed());
    let swapped = text.replace(&mine.public().to_string(), &other.public().to_string());
    let cases: Vec<(&str, String)> = vec![
        ("empty", String::new()),
        ("truncated", text[..text.len() / 2].to_owned()),
        ("swapped", swapped),
        ("wrong type", text.replace("\"ed25519\"", "\"rsa\"")),
        ("wrong schema", text.replace("identity/v1", "identity/v9")),
        ("foreign JSON", "{\"a\":1}".to_owned()),
        ("too large", " ".repeat(5_000)),
    ];
    for (what, content) in cases {
        write(&path, &content, 0o600);
        let error = identity_file::load(&path).unwrap_err();
        let told = ApiError::from(&error);
        assert_eq!(told.code, Code::IdentityInvalid, "{what}");
        assert!(!format!("{told:?}{error:?}").contains(&secret), "{what} shows the secret");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content, "{what} is left as it was");
    }
}

#[test]
fn a_directory_or_a_pipe_is_no_identity() {
    let dir = tempfile::tempdir().unwrap();
    let error = identity_file::load(dir.path()).unwrap_err();
    assert!(matches!(error, IdentityFileError::NotAFile { .. }), "{error:?}");
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let error = identity_file::load(&pipe).unwrap_err();
    assert!(matches!(error, IdentityFileError::NotAFile { .. }), "{error:?}");
    let error = identity_file::load(&dir.path().join("missing")).unwrap_err();
    assert_eq!(told(&error).0, Code::NotFound);
}

#[tokio::test]
async fn a_lost_key_is_noticed_and_no_new_address_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let builder = || Node::builder().home(dir.path()).listen("127.0.0.1:0".parse().unwrap());
    let node = builder().start().await.unwrap();
    let (owner, path) = (node.node_id(), node.home().identity());
    node.stop().await.unwrap();

    let kept = dir.path().join("elsewhere.json");
    std::fs::rename(&path, &kept).unwrap();
    let error = builder().start().await.unwrap_err();
    assert!(
        matches!(&error, StartError::IdentityLost { owner: o, .. } if *o == owner),
        "{error:?}"
    );
    let told = ApiError::from(&error);
    assert!(told.hint.unwrap().contains("restore"));
    assert!(!path.exists(), "no new identity was made");

    std::fs::rename(&kept, &path).unwrap();
    let node = builder().start().await.unwrap();
    assert_eq!(node.node_id(), owner);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_swapped_key_over_an_old_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let builder = || Node::builder().home(dir.path()).listen("127.0.0.1:0".parse().unwrap());
    let node = builder().start().await.unwrap();
    let path = node.home().identity();
    node.stop().await.unwrap();
    std::fs::remove_file(&path).unwrap();
    identity_file::create(&path, &identity_file::generate()).unwrap();
    let error = builder().start().await.unwrap_err();
    let told = ApiError::from(&error);
    assert_eq!(told.code, Code::IdentityInvalid);
    assert!(told.why.unwrap().contains("swapped"));
}

#[tokio::test]
async fn the_same_key_in_another_home_is_the_same_agent() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let start =
        |dir: &Path| Node::builder().home(dir).listen("127.0.0.1:0".parse().unwrap()).start();
    let node = start(one.path()).await.unwrap();
    let (id, address) = (node.node_id(), node.address());
    node.stop().await.unwrap();
    write(&two.path().join("identity.json"), std::fs::read(node.home().identity()).unwrap(), 0o600);
    let node = start(two.path()).await.unwrap();
    assert_eq!((node.node_id(), node.address()), (id, address));
    node.stop().await.unwrap();
}
