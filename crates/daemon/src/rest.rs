//! How the REST surface of this installation is spelled.

use clos_transcoder::{Enums, Int64, Options, Spelling};

/// The words of CLOS that the gateway does not know by itself.
pub fn options() -> Options {
    Options {
        // The contract's own annotations say the same; this covers the well-known types too.
        spelling: Spelling { int64: Int64::Number, enums: Enums::Short, ..Spelling::default() },
        realm: "clos".to_owned(),
        header_prefix: "x-clos-".to_owned(),
        subprotocol: Some("clos.v2".to_owned()),
        ..Options::default()
    }
}
