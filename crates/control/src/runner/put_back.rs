//! What a failing call breaks is put back, running if it ran.

use clos_domain::operation::{State, Step, Verb};
use clos_domain::plan::{self, Plan, Swap, Work};
use clos_domain::service::Desired;
use clos_domain::{Error, Result};

use super::run::Progress;
use super::{Inner, Run};
use crate::observer::engine_error;
use crate::sight::is_up;

impl Inner {
    /// A container that could not be replaced is as it was: the new one goes, the old one runs if it
    /// ran, and so does who lives in its namespaces.
    pub(super) async fn put_back(&self, row: &Step, swap: &Swap, error: Error) -> Error {
        let workloads = &self.world.engine.workloads;
        let done = async {
            let new = workloads.inspect(&swap.new).await.map_err(engine_error)?;
            let is_ours = new
                .and_then(|found| found.identity)
                .is_some_and(|one| row.service.as_ref() == Some(&one.service_id));
            if is_ours {
                self.call_raw(|| workloads.remove(&swap.new)).await.map_err(engine_error)?;
            }
            let old = workloads.inspect(&swap.old).await.map_err(engine_error)?;
            let Some(old) = old.filter(|found| swap.ran && found.id == swap.old_id) else {
                return Ok("");
            };
            if is_up(&old) {
                return Ok("; the previous container is still running");
            }
            self.call_raw(|| workloads.start(&swap.old)).await.map_err(engine_error)?;
            self.restart_guests(&old.id).await?;
            Ok::<_, Error>("; the previous container is running again")
        };
        match done.await {
            Ok(told) => Error::new(error.reason(), format!("{}{told}", error.message())),
            Err(stuck) => {
                let message = format!(
                    "{}; the previous container `{}` could not be put back: {}",
                    error.message(),
                    swap.old,
                    stuck.message()
                );
                Error::new(error.reason(), message)
            }
        }
    }

    /// The namespaces of a container that was started again are new ones: its guests are in those that ended.
    pub(super) async fn restart_guests(&self, owner: &str) -> Result<()> {
        let workloads = &self.world.engine.workloads;
        for listed in workloads.list().await.map_err(engine_error)? {
            let Some(service) = self.observer.owner_of(&listed).await? else { continue };
            let inspected = workloads.inspect(&listed.name).await.map_err(engine_error)?;
            let Some(guest) = inspected.filter(|found| found.shares_with.contains(owner)) else { continue };
            let row = self.world.store.view().await?.services().get(&service).await?;
            let Some(row) = row.filter(|row| row.desired == Desired::Running) else { continue };
            if is_up(&guest) {
                let grace = row.definition.stop.grace();
                self.call_raw(|| workloads.stop(&guest.name, grace)).await.map_err(engine_error)?;
            }
            self.call_raw(|| workloads.start(&guest.name)).await.map_err(engine_error)?;
        }
        Ok(())
    }

    /// What was stopped only to be started again is started, when something that its start needed failed.
    pub(super) async fn start_again(&self, progress: &mut Progress, plan: &Plan, run: &Run) -> Result<()> {
        if !matches!(plan.verb, Verb::Up | Verb::Start | Verb::Recreate) {
            return Ok(());
        }
        for start in &plan.steps {
            let (Work::Start { name }, None, Some((service, _))) = (&start.work, &start.swap, &start.service)
            else {
                continue;
            };
            let was_stopped = plan.steps.iter().any(|step| {
                matches!(&step.work, Work::Stop { name: stopped, .. } if stopped == name)
                    && step.swap.is_none()
                    && progress.state(step.number) == State::Completed
                    && !run.was_passed_over(step.number)
            });
            let was_left_out = progress.state(start.number) == State::Cancelled;
            if !was_stopped || !was_left_out || run.is_superseded(service) {
                continue;
            }
            let step = plan::Step {
                number: progress.next_number(),
                service: start.service.clone(),
                work: start.work.clone(),
                needs: vec![],
                after: vec![],
                why: "it ran before".into(),
                swap: None,
                only_if: None,
            };
            self.append(progress, step, run).await?;
        }
        Ok(())
    }
}
