//! Lists as docker prints them: a table, a template for each item, JSON lines, or IDs alone.

use std::borrow::Borrow;

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
        self.print_with(out, format, items.iter().map(Ok), !bare)
    }

    /// The same of items that are made one after the other, a table with its headings or without.
    pub fn print_with<T: Borrow<Value>>(
        &self,
        out: &mut Out,
        format: Option<&Format>,
        mut items: impl Iterator<Item = Result<T, Error>>,
        headings: bool,
    ) -> Result<(), Error> {
        match format {
            None | Some(Format::Usual) => {
                self.table(out, &Template::new(self.columns)?, items, headings)
            }
            Some(Format::Table(template)) => self.table(out, template, items, headings),
            Some(Format::Json) => items.try_for_each(|item| out.line(item?.borrow())),
            Some(Format::Template(template)) => {
                // Rendered before anything is printed: a wrong field gives no half of a list.
                let render = |item: Result<T, Error>| Ok(template.render(item?.borrow())?);
                let lines: Vec<String> = items.map(render).collect::<Result<_, Error>>()?;
                lines.iter().try_for_each(|line| out.line(line))
            }
        }
    }

    fn table<T: Borrow<Value>>(
        &self,
        out: &mut Out,
        template: &Template,
        items: impl Iterator<Item = Result<T, Error>>,
        headings: bool,
    ) -> Result<(), Error> {
        let mut lines = Vec::new();
        if headings {
            let headings = self.headings.iter();
            let headings: Map<String, Value> =
                headings.map(|(field, heading)| ((*field).to_owned(), (*heading).into())).collect();
            lines.push(template.render(&headings.into())?);
        }
        for item in items {
            lines.push(escape(&template.render(item?.borrow())?).replace('\n', "\\n"));
        }
        let table = Table::from_lines(lines.iter().map(String::as_str));
        table.lines().iter().try_for_each(|line| out.line(line))
    }
}
