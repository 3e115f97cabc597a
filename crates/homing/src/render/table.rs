//! Aligned columns.

/// Rows under headings, two spaces apart, no trailing spaces. Notes follow their row.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; an empty cell is shown as `–`.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.headings.len());
        let shown = |c: String| if c.is_empty() { "–".to_owned() } else { c };
        self.rows.push(Row { cells: cells.into_iter().map(shown).collect(), notes: Vec::new() });
    }

    /// Adds a line under the last row, below its second column.
    pub(crate) fn note(&mut self, text: String) {
        if let Some(row) = self.rows.last_mut() {
            row.notes.push(text);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn render(&self) -> String {
        let width = |i: usize| {
            let cells = self.rows.iter().map(|r| r.cells[i].chars().count());
            cells.chain([self.headings[i].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<_> = cells.zip(&widths).map(|(c, w)| pad(c, *w)).collect();
            format!("{}\n", padded.join("  ").trim_end())
        };
        let mut text = line(&mut self.headings.iter().copied());
        for row in &self.rows {
            text.push_str(&line(&mut row.cells.iter().map(String::as_str)));
            for note in &row.notes {
                text.push_str(&format!("{}  └ {note}\n", " ".repeat(widths[0])));
            }
        }
        text
    }
}

/// `label  value` lines, indented by two, values aligned.
pub(crate) fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    fields_in(width, pairs)
}

/// The same where several blocks stand below each other: labels as wide as the widest of all.
pub(crate) fn fields_in(width: usize, pairs: &[(&str, String)]) -> String {
    let line = |(label, value): &(&str, String)| format!("  {}  {value}\n", pad(label, width));
    pairs.iter().map(line).collect()
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.chars().count())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_spaces() {
        let mut table = Table::new(&["NAME", "PATH"]);
        table.row(vec!["agent-b".into(), "relay".into()]);
        table.note("why: udp is blocked".into());
        table.row(vec!["é".into(), String::new()]);
        let expected =
            "NAME     PATH\nagent-b  relay\n         └ why: udp is blocked\né        –\n";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn field_values_start_in_one_column() {
        let text = fields(&[("name", "a".into()), ("node ID", "b".into())]);
        assert_eq!(text, "  name     a\n  node ID  b\n");
        assert_eq!(fields_in(7, &[("cost", "c".into())]), "  cost     c\n");
    }
}
