//! Tables as kubectl prints them: upper-case headers, columns three spaces apart, no lines.

use super::Tone;

const GAP: usize = 3;

/// A table to be printed whole.
#[derive(Debug, Default)]
pub(crate) struct Table {
    headers: Vec<&'static str>,
    rows: Vec<Vec<(String, Option<Tone>)>>,
}

impl Table {
    pub(crate) fn new(headers: impl IntoIterator<Item = &'static str>) -> Table {
        Table { headers: headers.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row; a cell may have a tone.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Option<Tone>)>) {
        self.rows.push(cells.into_iter().map(|(text, tone)| (super::printable(&text), tone)).collect());
    }

    /// The table as text.
    pub(crate) fn render(&self, paint: impl Fn(Tone, &str) -> String) -> String {
        let widths = self.widths();
        let mut text = String::new();
        let headers: Vec<_> = self.headers.iter().map(|header| ((*header).to_owned(), None)).collect();
        for row in std::iter::once(&headers).filter(|row| !row.is_empty()).chain(&self.rows) {
            let mut line = String::new();
            for (i, (cell, tone)) in row.iter().enumerate() {
                line.push_str(&tone.map_or_else(|| cell.clone(), |tone| paint(tone, cell)));
                if i + 1 < row.len() {
                    line.extend(std::iter::repeat_n(' ', widths[i] + GAP - cell.chars().count()));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).chain([self.headers.len()]).max().unwrap_or(0);
        let cells = |i: usize| self.rows.iter().filter_map(move |row| row.get(i)).map(|(cell, _)| cell.chars().count());
        (0..columns).map(|i| cells(i).chain(self.headers.get(i).map(|h| h.len())).max().unwrap_or(0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_their_tone() {
        let mut table = Table::new(["NAME", "READY", "AGE"]);
        table.row([("a".to_owned(), None), ("True".to_owned(), Some(Tone::Good)), ("5s".to_owned(), None)]);
        table.row([("a-long-name".to_owned(), None), ("False".to_owned(), Some(Tone::Bad)), ("1m".to_owned(), None)]);
        let plain = table.render(|_, text| text.to_owned());
        assert_eq!(plain, "NAME          READY   AGE\na             True    5s\na-long-name   False   1m\n");
        let colored = table.render(|_, text| format!("<{text}>"));
        assert!(colored.contains("a             <True>    5s"), "{colored}");
    }
}
