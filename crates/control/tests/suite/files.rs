//! Secrets and configs that are no files of this machine are copied into their container and shown nowhere.

use clos_control::apply::Applied;

use crate::bed::{Bed, assert_completed, request, steps};

const TEXT: &str = "services: {web: {image: app, secrets: [key], configs: [{source: site, target: /etc/site}]}}\n\
                    secrets: {key: {environment: TOKEN}}\nconfigs: {site: {content: 'host=${HOST}'}}\n";

async fn apply(bed: &Bed, token: &str, dry_run: bool) -> Applied {
    let mut wanted = request(TEXT);
    wanted.dry_run = dry_run;
    let variables = [("TOKEN", token), ("HOST", "canary-of-a-config")];
    wanted.source.variables =
        variables.into_iter().map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).collect();
    bed.apply(wanted).await.unwrap()
}

/// The files of the container: path, content, owner, permissions.
fn files(bed: &Bed) -> Vec<String> {
    let files = bed.engine.files("shop-web-1").into_iter();
    files
        .map(|it| format!("{} {} {}:{} {:04o}", it.target, it.content.reveal(), it.uid, it.gid, it.mode))
        .collect()
}

#[tokio::test]
async fn a_secret_reaches_its_container_and_is_told_nowhere() {
    let bed = Bed::new().await;
    let first = apply(&bed, "canary-1", false).await;
    let mut told = format!("{first:?}\n{}", first.plan.render());
    assert_completed(&bed.ended(&first.operation.unwrap()).await);
    let site = "/etc/site host=canary-of-a-config 0:0 0444";
    assert_eq!(files(&bed), [site, "/run/secrets/key canary-1 0:0 0444"]);
    assert!(apply(&bed, "canary-1", false).await.plan.is_empty());

    let planned = apply(&bed, "canary-2", true).await.plan.render();
    assert!(planned.contains("files./run/secrets/key.content changed"), "{planned}");
    assert!(!planned.contains("/etc/site"), "{planned}");
    told.push_str(&planned);
    let second = apply(&bed, "canary-2", false).await;
    let ended = bed.ended(&second.operation.unwrap()).await;
    assert!(steps(&ended).iter().any(|step| step.starts_with("create")), "{:?}", steps(&ended));
    assert_eq!(files(&bed), [site, "/run/secrets/key canary-2 0:0 0444"]);

    // A change of something else leaves it where it is.
    let mut definition = bed.service("shop/web").await.definition;
    definition.environment.insert("A".into(), "1".into());
    let services = bed.control.services();
    let changed = services.update(&bed.ctx, "shop/web", None, definition).await.unwrap();
    let again = services.recreate(&bed.ctx, "shop/web", Default::default()).await.unwrap();
    told.push_str(&format!("{:?}", bed.ended(&again).await));
    assert_eq!(files(&bed), [site, "/run/secrets/key canary-2 0:0 0444"]);

    let mut view = clos_domain::seams::Store::view(&*bed.store).await.unwrap();
    told.push_str(&format!("{:?}", view.services().made_from(&changed.id).await.unwrap()));
    told.push_str(&format!("{:?} {ended:?} {changed:?} {:?}", second.plan, bed.events().await));
    assert!(!told.contains("canary"), "{told}");
}
