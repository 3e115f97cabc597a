//! Reports as one HTML file: no scripts, no fonts, nothing fetched from anywhere; light and dark as the reader's
//! system says. Every text from outside is escaped.

use std::fmt::Write;

use crate::dht::plot::{Chart, inline};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2126;--soft:#5b6570;--page:#fff;--panel:#f5f7f9;--line:#d9dfe5;--accent:#1b6ca8}\
@media(prefers-color-scheme:dark){:root{--ink:#e6eaee;--soft:#9aa5b1;--page:#14181c;--panel:#1d2329;--line:#333c45;--accent:#6cb4e8}}\
body{margin:0 auto;max-width:62rem;padding:2rem 1.2rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}\
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}\
p{max-width:46rem}.soft{color:var(--soft)}\
.lead{background:var(--panel);border-left:4px solid var(--accent);padding:.8rem 1rem;font-size:1.1rem}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.86rem;white-space:nowrap}\
th,td{padding:.3rem .7rem;text-align:left;border-bottom:1px solid var(--line)}th{color:var(--soft);font-weight:600}\
.wrap td{white-space:normal}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(21rem,1fr));gap:1rem}\
figure{margin:0;background:var(--panel);border-radius:6px;padding:.4rem}svg{width:100%;height:auto}\
pre{background:var(--panel);padding:.8rem 1rem;overflow-x:auto;font-size:.86rem}";

/// A page that is being written.
#[derive(Clone, Debug, Default)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// Begins one.
    #[must_use]
    pub fn new(title: &str, about: &str) -> Self {
        let mut page = Self { title: title.to_owned(), body: String::new() };
        let _ = writeln!(page.body, "<h1>{}</h1>", escaped(title));
        page.soft(about);
        page
    }

    /// The sentence that matters most.
    pub fn lead(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p class=\"lead\">{}</p>", escaped(text));
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h2>{}</h2>", escaped(text));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escaped(text));
    }

    /// A paragraph of lesser weight; nothing if it is empty.
    pub fn soft(&mut self, text: &str) {
        if !text.is_empty() {
            let _ = writeln!(self.body, "<p class=\"soft\">{}</p>", escaped(text));
        }
    }

    /// Lines as they are.
    pub fn code(&mut self, text: &str) {
        let _ = writeln!(self.body, "<pre>{}</pre>", escaped(text));
    }

    /// A table.
    pub fn table<S: AsRef<str>>(&mut self, head: &[S], rows: &[Vec<String>]) {
        let long = rows.iter().flatten().any(|cell| cell.chars().count() > 60);
        let class = if long { " class=\"wrap\"" } else { "" };
        let _ = write!(self.body, "<div class=\"scroll\"><table{class}><thead><tr>");
        for cell in head {
            let _ = write!(self.body, "<th>{}</th>", escaped(cell.as_ref()));
        }
        self.body.push_str("</tr></thead><tbody>\n");
        for row in rows {
            let cells: String = row.iter().map(|c| format!("<td>{}</td>", escaped(c))).collect();
            let _ = writeln!(self.body, "<tr>{cells}</tr>");
        }
        self.body.push_str("</tbody></table></div>\n");
    }

    /// Charts, as many beside each other as fit.
    pub fn charts(&mut self, charts: &[Chart]) {
        self.body.push_str("<div class=\"charts\">\n");
        for chart in charts {
            let title = escaped(&chart.title);
            let drawn = inline(chart);
            let _ =
                writeln!(self.body, "<figure role=\"img\" aria-label=\"{title}\">{drawn}</figure>");
        }
        self.body.push_str("</div>\n");
    }

    /// The whole document.
    #[must_use]
    pub fn html(&self) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{}</title><style>{STYLE}</style></head>\n<body>\n{}</body></html>\n",
            escaped(&self.title),
            self.body
        )
    }
}

/// Text that means nothing to a browser.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_wrote_stays_text() {
        let evil = "<script>alert(\"1\")</script>&'";
        let mut page = Page::new(evil, evil);
        page.lead(evil);
        page.text(evil);
        page.code(evil);
        page.table(&[evil], &[vec![evil.to_owned()]]);
        let html = page.html();
        assert!(!html.contains("<script") && !html.contains("alert(\""), "{html}");
        assert_eq!(html.matches("&lt;script&gt;").count(), 8, "{html}");
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src="));
    }
}
