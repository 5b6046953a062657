//! `clos forget`: a group that is down is remembered no longer.

use clos_proto::v2 as pb;

use crate::args::Forget;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::target::{self, Target};

pub(super) async fn run(session: &Session<'_>, args: &Forget) -> Result<Exit, Failure> {
    let client = session.client().await?;
    let names: Vec<String> = args.name.iter().cloned().collect();
    let mut targets = target::resolve(session, &client, &args.place, &names).await?;
    let group = match targets.pop() {
        Some(Target::Group(group)) => group,
        other => {
            let name = other.map(|target| target.name()).unwrap_or_default();
            return Err(Failure::usage(format!("`{name}` is a service, and forget takes a group")));
        }
    };
    let name = target::full_name(&group);
    let request = pb::DeleteGroupRequest { name: name.clone(), ..pb::DeleteGroupRequest::default() };
    client.delete_group(request).await?;
    session.note(&format!("{name} is forgotten"));
    let prefix = match group.instance.as_str() {
        "" => group.name.clone(),
        instance => format!("{}__{instance}", group.name),
    };
    let volumes = group.volumes.iter().filter(|volume| !volume.external).map(|volume| {
        if volume.name.is_empty() { format!("{prefix}_{}", volume.key) } else { volume.name.clone() }
    });
    let volumes: Vec<String> = volumes.collect();
    if !volumes.is_empty() {
        session.note(&format!("note: volumes that still exist are kept: {}", volumes.join(", ")));
    }
    Ok(Exit::Ok)
}
