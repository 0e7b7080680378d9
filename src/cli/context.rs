//! What a command works with.

use std::path::PathBuf;

use super::Error;
use super::config::Config;
use super::environment::Environment;
use super::guess::Begun;
use super::out::Out;
use super::report::Report;
use crate::engine::registry::Registries;
use crate::engine::snapshot::Driver;
use crate::engine::store::full_name;
use crate::engine::{self, Engine, Options, Warn, reference, userns};
use crate::oci::Platform;

/// Tells a coracle in `coracle unshare` whose the store's files are.
pub const UNSHARED: &str = "CORACLE_UNSHARED";

/// Options that stand before the command.
#[derive(Clone, Debug, Default)]
pub struct Globals {
    /// `--root`
    pub root: Option<PathBuf>,
    /// `--storage-driver`
    pub driver: Option<Driver>,
}

/// Output, environment and configuration: what a command is given beside its arguments.
#[derive(Debug)]
pub struct Context {
    /// stdout.
    pub out: Out,
    /// stderr.
    pub report: Report,
    /// The variables.
    pub environment: Environment,
    /// The files.
    pub config: Config,
    /// The container of a `run`, which was begun before the arguments were parsed.
    pub begun: Option<Begun>,
    globals: Globals,
}

impl Context {
    /// Reads the configuration; opens nothing yet.
    pub fn new(environment: Environment, globals: Globals) -> Result<Self, Error> {
        let config = Config::load(&environment)?;
        Ok(Self::with(environment, globals, config))
    }

    /// Without the user's configuration: an OCI runtime is told everything by who calls it, and may
    /// be called with a home that is not the caller's.
    pub fn bare(environment: Environment, globals: Globals) -> Self {
        Self::with(environment, globals, Config::default())
    }

    fn with(environment: Environment, globals: Globals, config: Config) -> Self {
        let report = Report::new(&environment);
        Self { out: Out::new(), report, environment, config, begun: None, globals }
    }

    /// Where the store is: `--root`, `CORACLE_ROOT`, the configuration, `$XDG_DATA_HOME/coracle`.
    pub fn root(&self) -> Result<PathBuf, Error> {
        let variable = self.environment.get("CORACLE_ROOT").filter(|root| !root.is_empty());
        let data = || Some(self.environment.data_home()?.join("coracle"));
        let root = self
            .globals
            .root
            .clone()
            .or(variable.map(PathBuf::from))
            .or_else(|| self.config.root.clone())
            .or_else(data)
            .ok_or_else(|| Error::usage("no home directory: HOME is not set, name a --root"))?;
        std::path::absolute(&root).map_err(|source| Error::File {
            action: "find",
            path: root,
            source,
        })
    }

    /// The engine, with what the command line says before what the files say.
    pub fn engine(
        &self,
        driver: Option<Driver>,
        userns: Option<userns::Request>,
    ) -> Result<Engine, Error> {
        let configured = |key: &str, error: String| Error::usage(format!("{key}: {error}"));
        let driver = match (driver.or(self.globals.driver), &self.config.storage_driver) {
            (None, Some(name)) => {
                Some(driver_named(name).map_err(|error| configured("storage-driver", error))?)
            }
            (driver, _) => driver,
        };
        let userns = match (userns, &self.config.userns) {
            (None, Some(text)) => text
                .parse()
                .map_err(|error: userns::InvalidRequest| configured("userns", error.to_string()))?,
            (userns, _) => userns.unwrap_or_default(),
        };
        let path = self.environment.get("PATH").unwrap_or_default();
        let report = self.report;
        let warn = Warn::new(move |text| report.note(text));
        let unshared = self.environment.text(UNSHARED).and_then(|text| text.parse().ok());
        let facts = self.begun.as_ref().map(|begun| begun.facts.clone());
        let root = self.root()?;
        Ok(Engine::open(Options { root, driver, userns, path, facts, unshared, warn })?)
    }

    /// What is configured about registries.
    pub fn registries(&self) -> Result<Registries, Error> {
        let registries = Registries::read(&self.environment.registries_files())?;
        Ok(registries.with(self.config.registry.clone(), self.config.aliases.clone()))
    }

    /// An image of the store as the user calls it: a short name may stand for another. The files
    /// that say so are read only where the name is not one of the store's.
    pub fn local_image(&self, engine: &Engine, query: &str) -> Result<String, Error> {
        let store = engine.store();
        if !reference::is_short(query) || store.has_name(query) || store.resolve(query).is_ok() {
            return Ok(query.to_owned());
        }
        let candidates = self.registries()?.candidates(query).unwrap_or_default();
        let known = candidates.iter().map(full_name);
        let mut known = known.filter(|name| matches!(engine.store().named(name), Ok(Some(_))));
        Ok(known.next().unwrap_or_else(|| query.to_owned()))
    }

    /// The same; by the name of a list of manifests it is the one of its images that `platform` takes,
    /// or this machine.
    pub fn image_or_member(
        &self,
        engine: &Engine,
        query: &str,
        platform: Option<&Platform>,
    ) -> Result<String, Error> {
        let image = self.local_image(engine, query)?;
        let Ok(name) = image.parse() else { return Ok(image) };
        let platform = platform.cloned().unwrap_or_else(Platform::host);
        Ok(engine.member_of_list(&name, &platform)?.unwrap_or(image))
    }

    /// Tells of the engine's failures in another process than this one, as `command` does.
    pub fn teller(&self, command: &'static str) -> impl Fn(&engine::Error) -> u8 + use<> {
        let report = self.report;
        move |error| {
            report.say(error);
            super::report::engine_code(error, command)
        }
    }

    /// Does `each` for every item: one failure is told and does not spare the rest.
    pub fn each<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut failures = Vec::new();
        for item in items {
            if let Err(error) = each(self, item) {
                failures.push(error);
            }
        }
        match failures.len() {
            0 => Ok(()),
            1 => failures.pop().map_or(Ok(()), Err),
            _ => {
                self.out.flush()?;
                for error in &failures {
                    self.report.tell(error);
                }
                Err(Error::Told)
            }
        }
    }
}

/// `overlay`, `fuse` or `copy`.
pub fn driver_named(name: &str) -> Result<Driver, String> {
    match name {
        "overlay" | "overlayfs" => Ok(Driver::Overlay),
        "fuse" | "fuse-overlayfs" => Ok(Driver::Fuse),
        "copy" | "vfs" => Ok(Driver::Copy),
        _ => Err(format!("no storage driver is called {name:?}: want overlay, fuse or copy")),
    }
}
