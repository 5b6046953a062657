//! What every server of the benchmark answers, and the two hands that write it: tonic and serde.

use std::sync::Arc;

use tonic::{Request, Response, Status};

/// The messages and the service of `proto/shelf.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::large_futures)]
pub(crate) mod pb {
    tonic::include_proto!("bench.v1");
}

/// Its descriptors, with `google.api.http`.
pub(crate) const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
/// As many items as there are.
pub(crate) const ITEMS: usize = 100;
/// Variables of an item: about 900 bytes of JSON.
const VARIABLES: usize = 4;

/// A hundred items in memory: what a handler does here costs next to nothing, and the same for all.
#[derive(Debug, Clone)]
pub(crate) struct Shelf(Arc<Vec<pb::Item>>);

impl Shelf {
    pub(crate) fn new() -> Self {
        Self(Arc::new((0..ITEMS).map(|at| item(at, VARIABLES)).collect()))
    }

    pub(crate) fn get(&self, id: &str) -> Option<pb::Item> {
        let at: usize = id.strip_prefix("itm_")?.parse().ok()?;
        self.0.get(at).cloned()
    }

    pub(crate) fn list(&self) -> pb::ListItemsResponse {
        pb::ListItemsResponse { items: self.0.to_vec() }
    }
}

/// An item with so many variables.
pub(crate) fn item(at: usize, variables: usize) -> pb::Item {
    let second = 1_790_000_000 + at as i64;
    let environment = (0..variables).map(|nr| {
        (format!("SETTING_{nr}"), format!("postgres://app:secret@database-{nr}:5432/shop?pool={at}"))
    });
    pb::Item {
        id: format!("itm_{at}"),
        name: format!("web-{at}"),
        group: "shop".to_owned(),
        state: pb::State::Running.into(),
        detail: "healthy since the last deployment, \"blue\" half".to_owned(),
        ports: [8080, 9090]
            .map(|port| pb::Port {
                container_port: port,
                host_port: 20_000 + at as i32,
                host_ip: "127.0.0.1".to_owned(),
            })
            .into(),
        environment: environment.collect(),
        tags: ["frontend", "critical", "team-checkout"].map(str::to_owned).into(),
        memory_bytes: 268_435_456 + at as i64,
        cpu: 0.25,
        enabled: true,
        created_at: Some(prost_types::Timestamp { seconds: second, nanos: 0 }),
        updated_at: Some(prost_types::Timestamp { seconds: second + 3_600, nanos: 123_456_000 }),
        description: "Serves the shop's pages and talks to the basket and the catalogue.".to_owned(),
        revision: format!("sha256-{at:032x}"),
    }
}

#[tonic::async_trait]
impl pb::shelf_server::Shelf for Shelf {
    async fn get_item(&self, request: Request<pb::GetItemRequest>) -> Result<Response<pb::Item>, Status> {
        let item = self.get(&request.into_inner().id);
        item.map(Response::new).ok_or_else(|| Status::not_found("there is no such item"))
    }

    async fn list_items(
        &self,
        _: Request<pb::ListItemsRequest>,
    ) -> Result<Response<pb::ListItemsResponse>, Status> {
        Ok(Response::new(self.list()))
    }
}

/// How serde writes what ProtoJSON has words for.
pub(crate) mod json {
    use serde::{Serialize, Serializer};

    pub(crate) fn state<S: Serializer>(state: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        super::pb::State::try_from(*state).unwrap_or_default().as_str_name().serialize(serializer)
    }

    pub(crate) fn int64<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(crate) fn time<S: Serializer>(
        time: &Option<prost_types::Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let time = time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
        time.serialize(serializer)
    }
}
