use std::os::unix::fs::symlink;

use super::*;

/// `root` with files in it, beside a secret.
fn tree() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("sub/.git")).unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    fs::write(root.join("a.txt"), "hello").unwrap();
    fs::write(root.join(".env"), "secret").unwrap();
    fs::write(root.join("sub/.git/config"), "secret").unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("a.txt", root.join("link")).unwrap();
    symlink(".env", root.join("hidden")).unwrap();
    (dir, root)
}

fn leads_to(root: &Path, path: &str) -> String {
    let Some(below) = relative(path) else { return "refused".into() };
    match find(root, &below, path.ends_with('/')) {
        Ok(Found::File { mut file, .. }) => {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            text
        }
        Ok(Found::Listing(html)) => html,
        Ok(Found::Below(place)) => format!("see {place}"),
        Ok(Found::Nothing) | Err(_) => "nothing".into(),
    }
}

#[test]
fn nothing_outside_and_nothing_hidden_is_found() {
    let (_dir, root) = tree();
    assert_eq!(leads_to(&root, "/a.txt"), "hello");
    assert_eq!(leads_to(&root, "/link"), "hello");
    assert_eq!(leads_to(&root, "/sub"), "see sub/");
    for refused in
        ["/../secret", "/%2e%2e/secret", "/sub/../../secret", "/.env", "/sub/.git/config"]
    {
        assert_eq!(leads_to(&root, refused), "refused", "{refused}");
    }
    for nothing in ["/out", "/up/secret", "/up/", "/hidden", "/a.txt/", "/none", "/a.txt/x"] {
        assert_eq!(leads_to(&root, nothing), "nothing", "{nothing}");
    }
    assert_eq!(relative("/a%00b"), None);
    assert_eq!(relative("/%ff"), None);
}

#[test]
fn a_listing_names_what_can_be_fetched_and_index_html_replaces_it() {
    let (_dir, root) = tree();
    fs::write(root.join("<b>&\".txt"), "").unwrap();
    let html = leads_to(&root, "/");
    for shown in ["a.txt", "link", "sub/", "&lt;b&gt;&amp;&quot;.txt", "%3Cb%3E%26%22.txt"] {
        assert!(html.contains(shown), "{shown} in {html}");
    }
    for hidden in ["out", "up", "hidden", ".env", "<b>"] {
        assert!(!html.contains(hidden), "{hidden} in {html}");
    }
    fs::write(root.join("index.html"), "welcome").unwrap();
    assert_eq!(leads_to(&root, "/"), "welcome");
}

#[test]
fn ranges_are_those_of_the_rfc() {
    for (wanted, expected) in [
        ("bytes=0-0", Asked::Part(0, 1)),
        ("bytes=2-", Asked::Part(2, 10)),
        ("bytes=-3", Asked::Part(7, 10)),
        ("bytes=-30", Asked::Part(0, 10)),
        ("bytes=5-99", Asked::Part(5, 10)),
        ("bytes=10-", Asked::Beyond),
        ("bytes=10-11", Asked::Beyond),
        ("bytes=-0", Asked::Beyond),
        ("bytes=3-2", Asked::Whole),
        ("bytes=0-1,3-4", Asked::Whole),
        ("bytes=10-1,3-4", Asked::Whole),
        ("bytes=-", Asked::Whole),
        ("bytes=a-b", Asked::Whole),
        ("lines=0-1", Asked::Whole),
    ] {
        assert_eq!(part(wanted, 10), expected, "{wanted}");
    }
    assert_eq!(part("bytes=0-", 0), Asked::Beyond);
}

#[test]
fn validators_decide_whether_a_file_is_sent_again() {
    let modified = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(10_500);
    let known = |name: hyper::header::HeaderName, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        is_known(&headers, "\"e\"", Some(modified))
    };
    assert!(known(IF_NONE_MATCH, "\"a\", W/\"e\"") && known(IF_NONE_MATCH, "*"));
    assert!(!known(IF_NONE_MATCH, "\"a\""));
    assert!(known(IF_MODIFIED_SINCE, "Thu, 01 Jan 1970 00:00:10 GMT"));
    assert!(!known(IF_MODIFIED_SINCE, "Thu, 01 Jan 1970 00:00:09 GMT"));
    let mut headers = HeaderMap::new();
    headers.insert(RANGE, "bytes=0-0".parse().unwrap());
    headers.insert(IF_RANGE, "\"other\"".parse().unwrap());
    assert_eq!(range(&headers, "\"e\"", Some(modified), 10), Asked::Whole);
    headers.insert(IF_RANGE, "\"e\"".parse().unwrap());
    assert_eq!(range(&headers, "\"e\"", Some(modified), 10), Asked::Part(0, 1));
}

#[test]
fn texts_say_their_encoding() {
    assert_eq!(content_type(Path::new("a.html")), "text/html; charset=utf-8");
    assert_eq!(content_type(Path::new("a.png")), "image/png");
    assert_eq!(content_type(Path::new("a")), "application/octet-stream");
}
