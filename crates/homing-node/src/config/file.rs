//! `config.toml`: reading it into values, and changing one value without touching the rest.

use std::io::{ErrorKind, Write};
use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, Table};

use super::keys::{Key, Kind};
use super::layers::{Layers, Value, cut, unknown};
use super::{Config, ConfigError};

/// An honest configuration has some 2 KiB; tickets are long.
const FILE_BYTES_MAX: u64 = 256 * 1_024;

/// Values of the file at `path`; none when there is no file.
pub(super) fn read(path: &Path) -> Result<Vec<(&'static Key, Value)>, ConfigError> {
    let document = document(path)?;
    let mut values = Vec::new();
    collect(path, document.as_table(), "", &mut values)?;
    Ok(values)
}

/// Checks the file at `path` by itself.
///
/// # Errors
/// See [`ConfigError`].
pub fn validate(path: &Path) -> Result<Config, ConfigError> {
    Layers::read(path, std::iter::empty())?.resolve()
}

/// Sets `name` to `text` in the file at `path`, or removes it (`None`: the default counts again).
/// Comments, order and everything else stay. The new file replaces the old one in one step, and
/// only when it is valid as a whole. Returns whether anything changed.
///
/// # Errors
/// See [`ConfigError`]; the file is then as it was.
pub fn set(path: &Path, name: &str, text: Option<&str>) -> Result<bool, ConfigError> {
    let key = Key::find(name).ok_or_else(|| unknown(name))?;
    let mut document = document(path)?;
    let before = document.to_string();
    match text {
        Some(text) => {
            // Beside what the file says: one value can need another.
            let mut check = layers(path, &document)?;
            check.flag(name, text)?;
            check.resolve()?;
            let value = key.parse(text).expect("just parsed");
            insert(&mut document, key, value);
        }
        None => {
            remove(&mut document, key);
            layers(path, &document)?.resolve()?;
        }
    }
    let after = document.to_string();
    if after != before {
        replace(path, &after).map_err(|source| ConfigError::Write { path: path.into(), source })?;
    }
    Ok(after != before)
}

fn document(path: &Path) -> Result<DocumentMut, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.into(), source };
    let bytes = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(DocumentMut::new()),
        Err(e) => return Err(failed(e)),
    };
    if bytes > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.into(), bytes, max: FILE_BYTES_MAX });
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    text.parse().map_err(|e: toml_edit::TomlError| ConfigError::Syntax {
        path: path.into(),
        message: e.to_string().trim_end().to_owned(),
    })
}

fn collect(
    path: &Path,
    table: &dyn toml_edit::TableLike,
    prefix: &str,
    values: &mut Vec<(&'static Key, Value)>,
) -> Result<(), ConfigError> {
    for (name, item) in table.iter() {
        let name = format!("{prefix}{name}");
        if let Some(key) = Key::find(&name) {
            values.push((key, value_of(key, item)?));
        } else if let Some(inner) = item.as_table_like() {
            collect(path, inner, &format!("{name}."), values)?;
        } else {
            return Err(ConfigError::UnknownKey {
                nearest: Key::nearest(&name),
                key: cut(&name),
                place: Some(path.display().to_string()),
            });
        }
    }
    Ok(())
}

fn value_of(key: &'static Key, item: &Item) -> Result<Value, ConfigError> {
    let value = match key.kind {
        Kind::Text => item.as_str().map(|text| Value::Text(text.to_owned())),
        Kind::Bool => item.as_bool().map(Value::Bool),
        Kind::Number => item.as_integer().and_then(|n| u64::try_from(n).ok()).map(Value::Number),
        Kind::List => item.as_array().and_then(strings).map(Value::List),
    };
    value.ok_or_else(|| ConfigError::Value {
        key: key.name,
        value: cut(item.to_string().trim()),
        why: format!("expected {}", key.kind.expected()),
        expected: key.about,
        origin: super::Origin::File,
    })
}

fn strings(array: &Array) -> Option<Vec<String>> {
    array.iter().map(|value| value.as_str().map(str::to_owned)).collect()
}

fn insert(document: &mut DocumentMut, key: &Key, value: Value) {
    let item = match value {
        Value::Text(text) => toml_edit::value(text),
        Value::Bool(value) => toml_edit::value(value),
        Value::Number(number) => toml_edit::value(i64::try_from(number).unwrap_or(i64::MAX)),
        Value::List(list) => toml_edit::value(list.into_iter().collect::<Array>()),
    };
    let (table, name) = split(key);
    let Some(table) = table else {
        replace_item(document.as_table_mut(), name, item);
        return;
    };
    let entry = document.entry(table).or_insert_with(|| Item::Table(Table::new()));
    match entry.as_table_like_mut() {
        Some(inner) => replace_item(inner, name, item),
        None => *entry = Item::Table(Table::from_iter([(name, item)])),
    }
}

/// Keeps the comments that stand above and beside the old value.
fn replace_item(table: &mut dyn toml_edit::TableLike, name: &str, mut item: Item) {
    let Some(old) = table.get_mut(name) else {
        table.insert(name, item);
        return;
    };
    if let (Some(from), Some(to)) = (old.as_value(), item.as_value_mut()) {
        *to.decor_mut() = from.decor().clone();
    }
    *old = item;
}

fn remove(document: &mut DocumentMut, key: &Key) {
    let (table, name) = split(key);
    match table {
        None => drop(document.remove(name)),
        Some(table) => {
            if let Some(inner) = document.get_mut(table).and_then(Item::as_table_like_mut) {
                inner.remove(name);
            }
        }
    }
}

fn split(key: &Key) -> (Option<&'static str>, &'static str) {
    match key.name.split_once('.') {
        Some((table, name)) => (Some(table), name),
        None => (None, key.name),
    }
}

fn layers(path: &Path, document: &DocumentMut) -> Result<Layers, ConfigError> {
    let mut values = Vec::new();
    collect(path, document.as_table(), "", &mut values)?;
    let mut layers = Layers::default();
    values.into_iter().for_each(|(key, value)| layers.insert(key, value));
    Ok(layers)
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    // A link leads to the file that is meant; it stays a link.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    if let Ok(metadata) = std::fs::metadata(&path) {
        file.as_file().set_permissions(metadata.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|e| e.error)?;
    std::fs::File::open(dir)?.sync_all()
}
