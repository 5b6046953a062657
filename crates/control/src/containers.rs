//! The container of a service, found by whose it is: its name is what the definition said when it
//! was made, and the definition may say another one by now.

use clos_domain::Result;
use clos_domain::id::ServiceId;
use clos_domain::service::Service;
use clos_domain::workload::Found;

use crate::observer::engine_error;
use crate::{Shared, adoption, sight};

/// The container that stands for a service now.
pub(crate) async fn current(shared: &Shared, service: &ServiceId) -> Result<Option<Found>> {
    let (row, known) = {
        let mut view = shared.world.store.view().await?;
        let row = view.services().get(service).await?;
        (row, adoption::Known::read(view.as_mut()).await?)
    };
    let Some(row) = row else { return Ok(None) };
    let workloads = &shared.world.engine.workloads;
    if let Some(id) = &row.container_id
        && let Some(found) = workloads.inspect(id).await.map_err(engine_error)?
    {
        return Ok(Some(found));
    }
    let installation = &shared.settings.installation;
    let mut listed = workloads.list().await.map_err(engine_error)?;
    listed.retain(|found| known.service_of(installation, found) == Some(service));
    let Some(found) = sight::main_of(&row, listed) else { return Ok(None) };
    // A list tells less than an inspection.
    workloads.inspect(&found.id).await.map_err(engine_error)
}

/// What the engine knows a running service's container by.
pub(crate) fn handle(row: &Service) -> String {
    row.container_id.clone().unwrap_or_else(|| row.workload_name())
}
