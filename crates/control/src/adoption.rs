//! Containers that Docker Compose made of a group's own files.
//!
//! Whoever comes from compose has them running already, under the names that we need. They are taken over only
//! when that was asked for; those that are as the file says are not even restarted. As they carry none of our
//! labels, the store's table of adopted containers is what makes them ours.

use std::collections::HashMap;

use clos_domain::id::ServiceId;
use clos_domain::plan::Policy;
use clos_domain::problem::{self, Problem};
use clos_domain::seams::Tx;
use clos_domain::seams::store::Adoption;
use clos_domain::service::Service;
use clos_domain::workload::{ConfigHash, ConfigPiece, Found, Identity};
use clos_domain::{Reason, Result, spec};
use sha2::{Digest as _, Sha256};

use crate::World;
use crate::observer::engine_error;
use crate::snapshot::Scope;

/// The store's table, by the engine's ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(HashMap<String, Adoption>);

impl Known {
    pub(crate) async fn read(tx: &mut dyn Tx) -> Result<Self> {
        let all = tx.adoptions().list().await?;
        Ok(Self(all.into_iter().map(|one| (one.container_id.clone(), one)).collect()))
    }

    /// Whose a container is: by our labels, else by the table.
    pub(crate) fn service_of<'a>(&'a self, installation: &str, found: &'a Found) -> Option<&'a ServiceId> {
        match &found.identity {
            Some(identity) => (identity.installation == installation).then_some(&identity.service_id),
            None => self.0.get(&found.id).map(|one| &one.service),
        }
    }

    /// Whether a container of this service was taken over once.
    pub(crate) fn has(&self, service: &ServiceId) -> bool {
        self.0.values().any(|one| one.service == *service)
    }

    /// What is about to be taken over counts already.
    pub(crate) fn with(mut self, candidates: &[Candidate]) -> Self {
        for one in candidates {
            self.0.insert(one.found.id.clone(), one.adoption());
        }
        self
    }
}

/// A container of compose's in the place of one of ours.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) service: ServiceId,
    pub(crate) found: Found,
    /// It is as the file says.
    pub(crate) is_unchanged: bool,
}

impl Candidate {
    pub(crate) fn adoption(&self) -> Adoption {
        let config_hash = self.found.composed.as_ref().map(|composed| composed.config_hash.clone());
        Adoption {
            container_id: self.found.id.clone(),
            service: self.service.clone(),
            config_hash: config_hash.unwrap_or_default(),
        }
    }
}

/// What compose made of the files of these groups and still has.
///
/// # Errors
/// `NAME_TAKEN` with their names, unless they are to be adopted.
pub(crate) async fn candidates(
    world: &World,
    installation: &str,
    known: &Known,
    scopes: &[Scope],
    policy: &Policy,
) -> Result<Vec<Candidate>> {
    let listed = world.engine.workloads.list().await.map_err(engine_error)?;
    let mut candidates = Vec::new();
    for scope in scopes {
        for service in &scope.chosen {
            let name = service.workload_name();
            let Some(found) = listed.iter().find(|found| found.name == name) else { continue };
            if known.service_of(installation, found).is_some() || !is_of_project(found, scope, service) {
                continue;
            }
            let is_unchanged = is_as_written(installation, scope, service, found, &listed);
            // The list does not tell when a container was started.
            let inspected = world.engine.workloads.inspect(&name).await.map_err(engine_error)?;
            let Some(found) = inspected.filter(|inspected| inspected.id == found.id) else { continue };
            candidates.push(Candidate { service: service.id.clone(), found, is_unchanged });
        }
    }
    if candidates.is_empty() || policy.adopt {
        return Ok(candidates);
    }
    let names: Vec<String> = candidates.iter().map(|one| format!("`{}`", one.found.name)).collect();
    let (noun, verb, them) =
        if names.len() == 1 { ("container", "was", "it") } else { ("containers", "were", "them") };
    let message = format!("{noun} {} {verb} made by docker compose from these files", names.join(", "));
    let hint = format!(
        "clos up --adopt     take {them} over and keep the volumes; what is unchanged is not restarted"
    );
    let group = scopes.first().map(|scope| scope.group.name.to_string()).unwrap_or_default();
    let mut problem = Problem::new(Reason::NameTaken, group, message, hint);
    if let Some(first) = candidates.first() {
        problem = problem.with("container", &first.found.name);
    }
    problem::refusal(&[problem]).map_or(Ok(candidates), Err)
}

fn is_of_project(found: &Found, scope: &Scope, service: &Service) -> bool {
    found.identity.is_none()
        && found.composed.as_ref().is_some_and(|composed| {
            !composed.is_oneoff
                && composed.project == scope.group.name.engine_prefix()
                && composed.service == service.definition.name.as_str()
                && composed.working_dir == scope.group.definition.working_dir
        })
}

fn is_as_written(
    installation: &str,
    scope: &Scope,
    service: &Service,
    found: &Found,
    listed: &[Found],
) -> bool {
    let wanted = spec::resolve(installation, &scope.group, service, &scope.all, &[]);
    is_of_hash(found, &wanted.identity, listed)
}

/// Whether compose made a container from what is wanted now.
pub(crate) fn is_of_hash(found: &Found, wanted: &Identity, listed: &[Found]) -> bool {
    let hash = match &wanted.config_hash {
        None => return false,
        Some(ConfigHash::Known(hash)) => hash.clone(),
        Some(ConfigHash::Of(pieces)) => {
            let mut text = Sha256::new();
            for piece in pieces {
                match piece {
                    ConfigPiece::Text(part) => text.update(part),
                    ConfigPiece::IdOf(name) => {
                        let Some(other) = listed.iter().find(|other| other.name == *name) else {
                            return false;
                        };
                        text.update(&other.id);
                    }
                }
            }
            data_encoding::HEXLOWER.encode(&text.finalize())
        }
    };
    found.composed.as_ref().is_some_and(|composed| composed.config_hash == hash)
}
