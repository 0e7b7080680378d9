//! User namespaces: which ids a container has, and how the kernel is told.
//!
//! ```text
//! gather (files, PATH) ─► Facts ─► choose (pure) ─► IdMaps ─► prepare ─► ChildMaps │ ParentMaps
//!
//! single   one id, the caller's own; the child writes its maps itself
//! range    a subordinate range as well: newuidmap and newgidmap write the maps
//! direct   root, of the host or of an outer container: all the ids it has; the parent writes
//! ```

mod enter;
mod error;
mod facts;
mod joined;
mod lines;
mod maps;
mod refusal;

pub use enter::{ChildMaps, ParentMaps, empty_namespace, enter_in_place, prepare};
pub use error::Error;
pub use facts::{
    Facts, Helpers, HelpersMissing, SubordinateRange, caller, gather, name_of, own_range_start,
};
pub use joined::{maps_behind, maps_of, request_for};
pub use lines::{InvalidLine, Line};
pub use maps::{
    Extent, IdMaps, InvalidRequest, Mode, Request, choose, choose_for_store, given, inside,
};
pub use refusal::{Refusal, explain_refusal};
