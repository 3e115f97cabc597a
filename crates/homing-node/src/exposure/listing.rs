//! What a directory contains, as a page: names only, sorted, without what could not be fetched.

use std::fs;
use std::io;
use std::path::Path;

use homing_api::client::percent_encode;

use super::directory::inside;
use super::limits::LISTING_ENTRIES_MAX;

/// The page for `path`, which lies below `root` and is called `relative` there.
pub(super) fn html(root: &Path, path: &Path, relative: &Path) -> io::Result<String> {
    let mut names = Vec::new();
    let mut more = false;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let link = entry.file_type()?.is_symlink();
        if name.starts_with('.') || (link && inside(root, &entry.path()).is_none()) {
            continue;
        }
        if names.len() == LISTING_ENTRIES_MAX {
            more = true;
            break;
        }
        let slash = if entry.path().is_dir() { "/" } else { "" };
        names.push((name, slash));
    }
    names.sort();
    Ok(page(&escaped(&format!("/{}", relative.display())), &names, more))
}

fn page(title: &str, names: &[(String, &str)], more: bool) -> String {
    let mut html = format!(
        "<!doctype html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body><h1>{title}</h1>\n<ul>\n"
    );
    for (name, slash) in names {
        let (place, name) = (percent_encode(name), escaped(name));
        html.push_str(&format!("<li><a href=\"./{place}{slash}\">{name}{slash}</a></li>\n"));
    }
    html.push_str("</ul>\n");
    if more {
        html.push_str(&format!("<p>The first {LISTING_ENTRIES_MAX} entries.</p>\n"));
    }
    html.push_str("</body></html>\n");
    html
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
