//! How the REST surface of this installation is spelled.

use anyhow::Context as _;
use clos_gateway::pages::Openapi;
use clos_transcoder::{Document, Enums, Int64, Multiplex, Options, Spelling, Transcoder};
use tonic::service::Routes;

use crate::VERSION;

/// The words of CLOS that the gateway does not know by itself.
pub fn options() -> Options {
    Options {
        // The contract's own annotations say the same; this covers the well-known types too.
        spelling: Spelling { int64: Int64::Number, enums: Enums::Short, ..Spelling::default() },
        realm: "clos".to_owned(),
        header_prefix: "x-clos-".to_owned(),
        subprotocol: Some("clos.v2".to_owned()),
        multiplex: Some(Multiplex {
            path: "/api/v2/ws".to_owned(),
            method: "clos.v2.EventsApi.WatchEvents".to_owned(),
            rename: vec![("types".to_owned(), "event_type".to_owned())],
            after: "after".to_owned(),
            begins: Some("watch-position".to_owned()),
            kind: "type".to_owned(),
            position: "seq".to_owned(),
            bookmark: "watch.bookmark".to_owned(),
            resync: "watch.resync".to_owned(),
        }),
        ..Options::default()
    }
}

/// The OpenAPI document as it is served.
pub fn openapi_page() -> Openapi {
    Openapi { about: document(), path: "/api/v2/openapi.json".to_owned() }
}

/// What the OpenAPI document says of the whole.
fn document() -> Document {
    let open =
        clos_proto::permissions().iter().filter(|(_, permission)| *permission == clos_proto::NO_PERMISSION);
    Document {
        title: "CLOS".to_owned(),
        version: VERSION.to_owned(),
        description:
            "The control plane of a developer's machine: services, groups, ports, operations and events. \
                      The token is the content of the file `token` in the state folder."
                .to_owned(),
        open: Some(open.map(|(path, _)| path.trim_start_matches('/').replace('/', ".")).collect()),
    }
}

/// The OpenAPI document, without a daemon.
///
/// # Errors
/// A contract that cannot be served.
pub fn openapi() -> anyhow::Result<String> {
    let transcoder = Transcoder::new(clos_proto::DESCRIPTOR_SET, Routes::default(), options())
        .context("the contract cannot be served over HTTP")?;
    let document = transcoder.openapi(&document());
    serde_json::to_string_pretty(&document).context("the document cannot be printed")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_route_of_the_contract_is_in_the_document() {
        let document: serde_json::Value = serde_json::from_str(&super::openapi().unwrap()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.len() > 30, "{}", paths.len());
        assert_eq!(document["paths"]["/api/v2/health"]["get"]["security"], serde_json::json!([]));
        assert!(
            document["paths"]["/api/v2/services"]["post"]["responses"]["201"]["headers"]["Location"]
                .is_object()
        );
        let text = document.to_string();
        for (at, _) in text.match_indices("#/components/schemas/") {
            let name = text[at + 21..].split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
