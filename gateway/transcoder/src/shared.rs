//! What was compiled at the start.

use std::sync::Arc;

use clos_protojson::schema::Schema;

use crate::options::Options;
use crate::printed::Printed;
use crate::route::Routes;
use crate::route::multiplex::Place;

/// What every request reads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) schema: Schema,
    pub(crate) routes: Routes,
    pub(crate) options: Options,
    pub(crate) multiplex: Option<Arc<Place>>,
    pub(crate) printed: Printed,
}
