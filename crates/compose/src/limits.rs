//! The bounds. Files come from strangers' repositories, and the reader is a daemon that must not be felled by one.

/// Bytes of one file.
pub const FILE_BYTES: usize = 1024 * 1024;
/// Nodes of one file with its aliases expanded.
pub const NODES: usize = 20_000;
/// Nodes of everything that was read, included and extended for one project.
pub const PROJECT_NODES: usize = 100_000;
/// Bytes of text of one file with its aliases expanded, or with its variables filled in.
pub const EXPANDED_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of text of everything that was read, filled in, copied and handed to services for one project.
pub const PROJECT_BYTES: usize = 32 * 1024 * 1024;
/// Nesting of lists and mappings.
pub const DEPTH: usize = 64;
/// Characters of one value.
pub const VALUE: usize = 8_192;
/// Characters of one key.
pub const NAME: usize = 1_024;
/// Names of variables that one round may ask for.
pub const VARIABLES: usize = 1_000;
/// Characters of one value that is a document of its own: `content` of a config, `dockerfile_inline`, and
/// what an `env_file` holds.
pub const DOCUMENT: usize = 65_536;
/// Files that one project may open beside those of the command line.
pub const FILES: usize = 128;
/// Files deep that an `include` or an `extends` may go.
pub const CHAIN: usize = 32;
/// `${A:-${B:-…}}`
pub const NESTED_VARIABLES: usize = 32;
/// Ports that one range may stand for.
pub const PORT_RANGE: u32 = 1_024;
