//! Go templates, as far as `--format` is used: fields, pipelines, `if`, `range`, `with`, and the
//! functions of Go and docker.
//!
//! ```text
//! text ─► parse: Node, Pipeline ─► evaluate with a serde_json::Value ─► text
//! ```

mod evaluate;
mod functions;
mod parse;

use std::collections::BTreeSet;

use serde_json::Value;

use parse::Node;

/// Why a template was refused or could not be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Against the grammar.
    #[error("template parsing error: {0}")]
    Syntax(String),
    /// A field that is not there.
    #[error("template: there is no field {field:?}")]
    NoField {
        /// Its name.
        field: String,
        /// Those that are.
        known: Vec<String>,
    },
    /// A function that cannot do with what it was given.
    #[error("template: {0}")]
    Evaluation(String),
}

/// A template, read.
#[derive(Clone, Debug)]
pub struct Template(Vec<Node>);

impl Template {
    /// Reads a template; `\t` and `\n` stand for tab and new line outside the braces.
    pub fn new(text: &str) -> Result<Self, Error> {
        parse::template(text).map(Self)
    }

    /// The fields of a value that it may ask for; `None` where that may be any.
    pub fn fields(&self) -> Option<BTreeSet<&str>> {
        let mut fields = BTreeSet::new();
        parse::fields(&self.0, &mut fields).then_some(fields)
    }

    /// The template filled in, where it is no more than text and fields: each of these is asked for
    /// when its turn comes, and nobody makes the whole value, as a long list is better off. `None` where
    /// the template is more than that, or asks for a field that is not there.
    pub fn fill(&self, field: &dyn Fn(&str) -> Option<Value>) -> Option<String> {
        evaluate::fill(&self.0, field)
    }

    /// The template filled in.
    pub fn render(&self, value: &Value) -> Result<String, Error> {
        evaluate::render(&self.0, value)
    }
}

/// What a `--format` asks for.
#[derive(Clone, Debug)]
pub enum Format {
    /// `json`
    Json,
    /// A template, once for each item.
    Template(Template),
    /// `table` and a template: columns below headings.
    Table(Template),
    /// `table` alone: the usual columns.
    Usual,
}

impl std::str::FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.strip_prefix("table") {
            _ if text == "json" => Ok(Self::Json),
            Some("") => Ok(Self::Usual),
            Some(rest) if rest.starts_with([' ', '\t', '{', '\\']) => {
                Template::new(rest.trim_start()).map(Self::Table)
            }
            _ => Template::new(text).map(Self::Template),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(text: &str, value: &Value) -> String {
        Template::new(text).and_then(|template| template.render(value)).unwrap_or_else(|error| {
            panic!("{text}: {error}");
        })
    }

    #[test]
    fn what_scripts_use() {
        let value = json!({
            "ID": "abc", "Names": "web", "Size": 12, "Tags": ["a", "b"], "None": null,
            "State": {"Running": true, "ExitCode": 3},
            "Labels": {"a.b": "x", "z": "y"}, "Listed": {"Labels": "a=1,b=2"},
        });
        for (text, want) in [
            ("{{.ID}}", "abc"),
            ("{{ .ID }}:{{.State.ExitCode}}", "abc:3"),
            ("{{.State.Running}}", "true"),
            ("{{json .Tags}}", r#"["a","b"]"#),
            ("{{json .}}", &value.to_string()),
            ("{{.Tags}}", "[a b]"),
            ("{{.Labels}}", "map[a.b:x z:y]"),
            ("{{join .Tags \", \"}}", "a, b"),
            ("{{.Names | upper}}", "WEB"),
            ("{{title .Names}}", "Web"),
            ("{{truncate .ID 2}}", "ab"),
            ("{{index .Labels \"a.b\"}}", "x"),
            ("{{index .Tags 1}}", "b"),
            ("{{index .Labels \"nope\"}}", "<no value>"),
            ("{{.Labels.nope}}", "<no value>"),
            ("{{(index .Tags 0)}}", "a"),
            ("{{len .Tags}}", "2"),
            ("{{range .Tags}}<{{.}}>{{end}}", "<a><b>"),
            ("{{range $i, $t := .Tags}}{{$i}}={{$t}};{{end}}", "0=a;1=b;"),
            ("{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}", "a.b=x z=y "),
            ("{{range .None}}x{{else}}none{{end}}", "none"),
            ("{{range .Tags}}{{.}}{{$.ID}}{{end}}", "aabcbabc"),
            ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
            ("{{if eq .State.ExitCode 0}}ok{{else if eq .State.ExitCode 3}}three{{end}}", "three"),
            ("{{if and .ID (not .None)}}y{{end}}", "y"),
            ("{{or .None .ID}}", "abc"),
            ("{{with .State}}{{.ExitCode}}{{end}}", "3"),
            ("{{$x := .ID}}{{$x}}", "abc"),
            ("{{printf \"%s-%d %q %v\" .ID .Size .Names .State.Running}}", "abc-12 \"web\" true"),
            ("{{println .ID}}", "abc\n"),
            ("{{.ID}}\\t{{.Names}}", "abc\tweb"),
            ("a {{- .ID -}} b", "aabcb"),
            ("{{/* note */}}{{`raw`}}", "raw"),
            ("{{range split \"a,b\" \",\"}}{{.}}.{{end}}", "a.b."),
            ("{{if lt .Size 13}}less{{end}}", "less"),
            ("{{eq .ID \"x\" \"abc\"}}", "true"),
            ("{{slice .ID 1}}", "bc"),
            ("{{.Label \"a\"}}", ""),
            ("{{$.ID}}{{with .Listed}}{{.Label \"b\"}}{{.Label \"no\"}}{{end}}", "abc2"),
        ] {
            assert_eq!(render(text, &value), want, "{text}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for text in
            ["{{", "{{.A", "{{end}}", "{{if .A}}", "{{nope .A}}", "{{.A | }}", "{{\"x}}", "{{(.A}}"]
        {
            assert!(matches!(Template::new(text), Err(Error::Syntax(_))), "{text}");
        }
        let template = Template::new("{{.Id}}").expect("a template");
        let error = template.render(&json!({"ID": 1})).expect_err("no such field");
        assert_eq!(error, Error::NoField { field: "Id".into(), known: vec!["ID".into()] });
        let deep = format!("{}1{}", "{{".to_owned() + &"(".repeat(5000), ")".repeat(5000) + "}}");
        assert!(Template::new(&deep).is_err(), "depth is limited");
    }

    #[test]
    fn fields_that_are_asked_for_are_known_before() {
        let fields = |text: &str| {
            let template = Template::new(text).expect("a template");
            template.fields().map(|fields| fields.into_iter().collect::<Vec<_>>().join(" "))
        };
        for text in [
            "{{if .B}}{{(index .A 0).X}}{{else}}{{.C.X}}{{end}}",
            "{{range .A}}{{.B}}{{end}}{{$x := .C}}",
            "{{with .A}}{{$.B}}{{else}}{{upper .C | len}}{{end}}",
        ] {
            assert_eq!(fields(text).as_deref(), Some("A B C"), "{text}");
        }
        for text in ["{{json .}}", "{{.A}}{{$}}", "{{with .A}}{{.}}{{end}}"] {
            assert_eq!(fields(text), None, "{text}");
        }
    }

    #[test]
    fn fields_alone_need_no_value() {
        let fill = |text: &str| {
            let field = |name: &str| match name {
                "N" => Some(1.into()),
                "A" | "B" => Some(name.to_lowercase().into()),
                _ => None,
            };
            Template::new(text).expect("a template").fill(&field)
        };
        assert_eq!(fill("{{.A}}\\t{{.B}} {{ .N }}").as_deref(), Some("a\tb 1"));
        let more = ["{{.A.B}}", "{{.}}", "{{upper .A}}", "{{if .A}}{{.B}}{{end}}", "{{$x := .A}}"];
        for text in more.into_iter().chain(["{{.C}}"]) {
            assert_eq!(fill(text), None, "{text}");
        }
    }

    #[test]
    fn formats_are_told_apart() {
        let parse = |text: &str| text.parse::<Format>().expect("a format");
        assert!(matches!(parse("json"), Format::Json));
        assert!(matches!(parse("table"), Format::Usual));
        assert!(matches!(parse("table {{.ID}}"), Format::Table(_)));
        assert!(matches!(parse("{{.ID}}"), Format::Template(_)));
        assert!(matches!(parse("tables"), Format::Template(_)));
    }
}
