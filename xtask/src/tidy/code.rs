//! Rules about source text.

use super::{File, Tree};

/// Past this a file must say why it is one thing.
const LINES_MAX: usize = 600;
/// A header that says so contains this.
const ONE_THING: &str = "one thing";

pub fn own_infrastructure(tree: &Tree) -> Vec<String> {
    let words =
        [concat!("presets::", "N0"), concat!("RelayMode::", "Default"), concat!("n0", "_dns")];
    tree.rust("").flat_map(|f| f.mentions(&words)).collect()
}

pub fn faces_print(tree: &Tree) -> Vec<String> {
    let silent =
        ["crates/homing-base/", "crates/homing-core/", "crates/homing-api/", "crates/homing-node/"];
    let files = silent.iter().flat_map(|folder| tree.rust(folder));
    let product = files.filter(|f| !f.is_test() && f.path.contains("/src/"));
    product.flat_map(|f| f.mentions(&["println!", "print!(", "eprint!("])).collect()
}

pub fn file_length(tree: &Tree) -> Vec<String> {
    let long = tree
        .rust("")
        .filter(|f| f.text.lines().count() > LINES_MAX && !header(f).contains(ONE_THING));
    long.map(|f| format!("{}: {} lines", f.path, f.text.lines().count())).collect()
}

pub fn words(tree: &Tree) -> Vec<String> {
    let banned = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[igno", "re"),
        concat!("mod ", "utils"),
        concat!("mod ", "helpers"),
        concat!("Manager", " {"),
        concat!("Manager", ";"),
        concat!("Helper", " {"),
        concat!("fn ", "get_"),
    ];
    // Names that a trait of the MCP library demands.
    let demanded = [concat!("fn ", "get_info(&self)"), concat!("fn ", "get_tool(&self, name")];
    let mut findings: Vec<_> =
        tree.rust("").flat_map(|f| f.mentions_but(&banned, &demanded)).collect();
    let named = tree.files.iter().filter(|f| f.path.ends_with(concat!("/utils", ".rs")));
    findings.extend(named.map(|f| f.path.clone()));
    findings
}

pub fn module_headers(tree: &Tree) -> Vec<String> {
    let sources = tree.rust("").filter(|f| f.path.contains("src/") && !f.is_test());
    let bare = sources.filter(|f| !f.text.is_empty() && !f.text.starts_with("//!"));
    bare.map(|f| format!("{}: does not begin with `//!`", f.path)).collect()
}

/// The leading `//!` block.
fn header(file: &File) -> String {
    file.text.lines().take_while(|l| l.starts_with("//!")).collect::<Vec<_>>().join(" ")
}
