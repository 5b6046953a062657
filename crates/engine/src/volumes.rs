//! Volumes.

use std::collections::HashMap;

use async_trait::async_trait;
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{ListVolumesOptions, RemoveVolumeOptions};
use clos_domain::seams::Volumes;
use clos_domain::seams::engine::Error;
use clos_domain::workload::{Owner, Volume};

use crate::call::{Effect, Fault, within};
use crate::docker::Docker;
use crate::labels::{self, Resource};
use crate::{deadline, name};

#[async_trait]
impl Volumes for Docker {
    async fn create(&self, volume: &Volume) -> Result<(), Error> {
        let name = name::check("volume", &volume.name)?;
        let mut all_labels: HashMap<String, String> = volume.labels.clone().into_iter().collect();
        if let Some(owner) = &volume.owner {
            all_labels.extend(labels::of_owner(owner, Resource::Volume));
        }
        let options = &volume.driver_opts;
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            driver: volume.driver.clone(),
            driver_opts: (!options.is_empty()).then(|| options.clone().into_iter().collect()),
            labels: Some(all_labels),
            cluster_volume_spec: None,
        };
        let what = format!("create volume `{name}`");
        match within(deadline::RESOURCE, &what, Effect::Changes, self.client().create_volume(request)).await {
            Ok(_) => Ok(()),
            Err(Fault::Answer { status: 409, .. }) => Err(Error::NameTaken(name.to_owned())),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        let name = name::check("volume", name)?;
        let what = format!("remove volume `{name}`");
        let call = self.client().remove_volume(name, None::<RemoveVolumeOptions>);
        match within(deadline::RESOURCE, &what, Effect::Changes, call).await {
            Ok(()) | Err(Fault::Answer { status: 404, .. }) => Ok(()),
            Err(Fault::Answer { status: 409, .. }) => Err(Error::InUse(name.to_owned())),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn list(&self) -> Result<Vec<(String, Option<Owner>)>, Error> {
        let call = self.client().list_volumes(None::<ListVolumesOptions>);
        let listed = within(deadline::READ, "list volumes", Effect::Reads, call).await?;
        let volumes = listed.volumes.unwrap_or_default();
        Ok(volumes
            .into_iter()
            .map(|volume| {
                let owner = labels::owner(&volume.labels, Resource::Volume);
                (volume.name, owner)
            })
            .collect())
    }
}
