//! Lists as docker prints them: a table, a template for each item, JSON lines, or IDs alone.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Error;
use super::format::{Format, Template};
use super::out::Out;
use super::report::escape;
use super::table::Table;

/// How a kind of thing is listed.
#[derive(Debug)]
pub struct Listing {
    /// The usual columns, as a template.
    pub columns: &'static str,
    /// Fields and the headings above them.
    pub headings: &'static [(&'static str, &'static str)],
}

impl Listing {
    /// The fields that will be printed: of a long list no others need to be made.
    pub fn wanted(&self, format: Option<&Format>) -> Result<Vec<&'static str>, Error> {
        let usual = Template::new(self.columns)?;
        let fields = match format {
            None | Some(Format::Usual) => usual.fields(),
            Some(Format::Template(template) | Format::Table(template)) => template.fields(),
            Some(Format::Json) => None,
        };
        let all: Vec<&str> = self.headings.iter().map(|(field, _)| *field).collect();
        Ok(match fields {
            // Who asks for one that is not there is told of all that are.
            Some(fields) if fields.iter().all(|field| all.contains(field)) => {
                all.into_iter().filter(|field| fields.contains(field)).collect()
            }
            _ => all,
        })
    }

    /// Prints `items`, each an object with the fields of `headings`.
    pub fn print(
        &self,
        out: &mut Out,
        format: Option<&Format>,
        items: &[Value],
    ) -> Result<(), Error> {
        self.print_bare(out, format, items, false)
    }

    /// The same, with no headings above a table where `bare` says so.
    pub fn print_bare(
        &self,
        out: &mut Out,
        format: Option<&Format>,
        items: &[Value],
        bare: bool,
    ) -> Result<(), Error> {
        let line = |item: &Value, template: Option<&Template>| match template {
            Some(template) => template.render(item),
            None => Ok(item.to_string()),
        };
        self.print_with(out, format, items, line, !bare)
    }

    /// The same of items whose lines `line` makes: by a template, or else as JSON.
    pub fn print_with<T>(
        &self,
        out: &mut Out,
        format: Option<&Format>,
        items: &[T],
        line: impl Fn(&T, Option<&Template>) -> Result<String, super::format::Error>,
        headings: bool,
    ) -> Result<(), Error> {
        let usual;
        let (template, table) = match format {
            None | Some(Format::Usual) => {
                usual = Template::new(self.columns)?;
                (Some(&usual), true)
            }
            Some(Format::Table(template)) => (Some(template), true),
            Some(Format::Template(template)) => (Some(template), false),
            Some(Format::Json) => (None, false),
        };
        // Made before anything is printed: a wrong field gives no half of a list.
        let lines = items.iter().map(|item| line(item, template));
        let mut lines: Vec<String> = lines.collect::<Result<_, _>>()?;
        if !table {
            return lines.iter().try_for_each(|line| out.line(line));
        }
        for line in &mut lines {
            *line = one_line(std::mem::take(line));
        }
        if let Some(template) = template.filter(|_| headings) {
            let headings = self.headings.iter();
            let headings: Map<String, Value> =
                headings.map(|(field, heading)| ((*field).to_owned(), (*heading).into())).collect();
            lines.insert(0, template.render(&headings.into())?);
        }
        out.text(Table::from_lines(&lines).text())
    }
}

/// What is to be a line of a list, without what would make several of it or move the cursor.
pub fn one_line(text: String) -> String {
    match escape(&text) {
        Cow::Borrowed(_) if !text.contains('\n') => text,
        escaped => escaped.replace('\n', "\\n"),
    }
}
