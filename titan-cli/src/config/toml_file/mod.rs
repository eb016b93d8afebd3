//! Files that people write in TOML: reading one within bounds, taking values out of it, and saying what is wrong with
//! it where it is wrong.
//!
//! Knows nothing of what any key means. All problems of a file are gathered and told together, in the file's order.

mod error;
mod excerpt;
mod read;
mod section;
mod syntax;

pub(crate) use error::{ConfigError, Problem, Problems};
pub(crate) use read::read_text;
pub(crate) use section::{Rules, Section, is_resource_name, no_nul, quoted};
pub(crate) use syntax::parse_document;
