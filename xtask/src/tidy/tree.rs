//! What the rules look at: the files that belong to the repository, and the workspace's manifests.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::run;

/// One text file of the repository.
pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// The repository as the rules see it.
pub struct Tree {
    /// Every text file that is tracked or would be.
    pub files: Vec<File>,
    /// The manifests.
    pub workspace: Workspace,
}

/// What `cargo metadata` says about the workspace's own crates.
#[derive(Deserialize, Default)]
pub struct Workspace {
    packages: Vec<Package>,
}

/// One crate of the workspace.
#[derive(Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// What it depends on, all kinds.
    pub dependencies: Vec<Dependency>,
}

/// One line of a manifest.
#[derive(Deserialize)]
pub struct Dependency {
    /// The crate.
    pub name: String,
    /// `dev`, `build`, or nothing for an ordinary one.
    pub kind: Option<String>,
}

impl Workspace {
    /// Asks cargo; nothing is downloaded.
    pub fn read(root: &Path) -> Result<Self> {
        let args = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
        let ended = run::cargo(root, &args).quiet()?;
        ensure!(ended.success, "`cargo metadata` failed");
        serde_json::from_str(&ended.lines.join("\n")).context("reading `cargo metadata`")
    }

    /// The crate of that name.
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|p| p.name == name)
    }

    #[cfg(test)]
    pub fn of(packages: Vec<Package>) -> Self {
        Self { packages }
    }
}

impl Package {
    /// Names of dependencies that end up in the product (not dev, not build).
    pub fn ordinary(&self) -> impl Iterator<Item = &str> {
        self.dependencies.iter().filter(|d| d.kind.is_none()).map(|d| d.name.as_str())
    }
}

impl Tree {
    /// Reads the files that git tracks or would track.
    pub fn read(root: &Path) -> Result<Self> {
        let args = ["ls-files", "--cached", "--others", "--exclude-standard"];
        let listed = run::program(root, "git", &args).quiet()?;
        ensure!(listed.success, "`git ls-files` failed: tidy needs a git work tree");
        let mut files = Vec::new();
        for path in listed.lines.into_iter().filter(|p| !p.is_empty()) {
            // Deleted but still tracked, or not text: nothing to look at.
            if let Ok(text) = std::fs::read_to_string(root.join(&path)) {
                files.push(File { path, text });
            }
        }
        Ok(Self { files, workspace: Workspace::read(root)? })
    }

    /// Whether a file or folder of that path belongs to the repository.
    pub fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.iter().any(|f| f.path == path || f.path.starts_with(&folder))
    }

    /// Rust files below `folder`.
    pub fn rust(&self, folder: &str) -> impl Iterator<Item = &File> {
        let folder = folder.to_owned();
        self.files.iter().filter(move |f| f.path.starts_with(&folder) && f.path.ends_with(".rs"))
    }
}

impl File {
    /// Lines with their number (from 1), comments and everything below `#[cfg(test)]` left out.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().enumerate();
        lines.filter(|(_, l)| !l.trim_start().starts_with("//")).map(|(n, l)| (n + 1, l))
    }

    /// Whether the whole file is test code.
    pub fn is_test(&self) -> bool {
        let path = &self.path;
        path.contains("/tests/") || path.ends_with("/tests.rs") || path.contains("/benches/")
    }

    /// `path:line: what`, for every line of code that contains one of `words`.
    pub fn mentions(&self, words: &[&str]) -> Vec<String> {
        self.mentions_but(words, &[])
    }

    /// The same, but for lines that contain one of `fine`.
    pub fn mentions_but(&self, words: &[&str], fine: &[&str]) -> Vec<String> {
        let hit = |(n, line): (usize, &str)| {
            let word = words.iter().find(|w| line.contains(**w))?;
            let is_fine = fine.iter().any(|w| line.contains(w));
            (!is_fine).then(|| format!("{}:{n}: {word}", self.path))
        };
        self.code().filter_map(hit).collect()
    }
}
